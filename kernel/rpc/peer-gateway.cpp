#include "kernel/rpc/peer-gateway.h"

#include <capnp/message.h>
#include <capnp/schema.h>
#include <unistd.h>

#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/hand-on.h"
#include "orch/revocable.h"

namespace orch::rpc {

namespace {

constexpr size_t MAX_NAME = 128;

class PeerGateway final : public schema::Gateway::Server {
 public:
  PeerGateway(Registry& registry, log::Refusals& refusals, const std::string& nodeName,
              schema::Peer::Reader given)
      : registry(registry),
        refusals(refusals),
        nodeName(nodeName),
        message(given.totalSize().wordCount + 1) {
    message.setRoot(given);
  }

  kj::Promise<void> version(VersionContext context) override {
    auto results = context.getResults();
    results.setVersion(ORCH_VERSION);
    results.setApi(API_VERSION);
    results.setNode(nodeName.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override { return find(context); }
  kj::Promise<void> services(ServicesContext context) override { return list(context); }

 private:
  schema::Peer::Reader peer() { return message.getRoot<schema::Peer>().asReader(); }

  Task<void> find(ServiceContext context) {
    auto name = context.getParams().getName();
    if (name.size() > MAX_NAME) fail(kj::str("usage: no service has a name that long"));
    KJ_IF_MAYBE (service, registry.forPeers(name.cStr())) {
      auto request = service->openRequest();
      request.setPeer(peer());
      auto opened = co_await attempt(request.send());
      if (opened.ok()) {
        context.getResults().setCapability(opened.value().getService());
        co_return;
      }
      refused(name, opened.message());
      kj::throwFatalException(kj::mv(opened.error()));
    }
    refused(name, "it is none for other hosts");
    fail(kj::str("node '", nodeName.c_str(), "' has no service '", name, "' for other hosts"));
  }

  void refused(kj::StringPtr name, kj::StringPtr reason) {
    log::LogFields fields;
    fields.emplace_back("from", kj::str(peer().getAddress()));
    fields.emplace_back("role", kj::str(peer().getRole()));
    fields.emplace_back("id", kj::str(peer().getId()));
    fields.emplace_back("service", kj::str(name));
    fields.emplace_back("reason", kj::str(reason));
    refusals.tell("peer.service-refused", "", kj::mv(fields));
  }

  // Those that the peer is let into: each plugin decides for itself.
  Task<void> list(ServicesContext context) {
    std::vector<std::string> open;
    for (auto& name : registry.namesForPeers()) {
      KJ_IF_MAYBE (service, registry.forPeers(name)) {
        auto request = service->openRequest();
        request.setPeer(peer());
        auto opened = co_await attempt(request.send().ignoreResult());
        if (opened.ok()) open.push_back(name);
      }
    }
    auto names = context.getResults().initNames(open.size());
    for (uint32_t i = 0; i < names.size(); ++i) names.set(i, open[i].c_str());
  }

  Registry& registry;
  log::Refusals& refusals;
  const std::string nodeName;
  capnp::MallocMessageBuilder message;  // no larger than it has to be: there is one per connection
};

// The whole gateway, but for what the other end gets as who it is.
class AdminGateway final : public capnp::Capability::Server {
 public:
  AdminGateway(schema::Gateway::Client ofPeer, schema::Gateway::Client whole)
      : ofPeer(kj::mv(ofPeer)), whole(kj::mv(whole)) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    auto service = capnp::Schema::from<schema::Gateway>().getMethodByName("service").getOrdinal();
    bool renews = methodId == service && call.getParams().getAs<Named>().getName() == "renewal";
    return {handOn(renews ? ofPeer : whole, interfaceId, methodId, call), false};
  }

 private:
  using Named = schema::Gateway::ServiceParams;
  schema::Gateway::Client ofPeer;
  schema::Gateway::Client whole;
};

}  // namespace

schema::Gateway::Client newAdminGateway(kj::Promise<void> ready, schema::Gateway::Client ofPeer,
                                        schema::Gateway::Client whole) {
  auto find = ofPeer.serviceRequest();
  find.setName("admin");
  auto sent = ready.then([find = kj::mv(find)]() mutable { return find.send(); });
  capnp::Capability::Client both = kj::heap<AdminGateway>(kj::mv(ofPeer), kj::mv(whole));
  return sent.then([both = both.castAs<schema::Gateway>()](auto&& found) mutable {
    auto asked = found.getCapability().template castAs<schema::Admission>().endedRequest().send();
    auto ended = asked.then([](auto&& answer) { fail(kj::str(answer.getReason())); });
    return capnp::membrane(kj::mv(both), kj::refcounted<Revocable>(kj::mv(ended)));
  });
}

schema::Gateway::Client newPeerGateway(Registry& registry, log::Refusals& refusals,
                                       const std::string& nodeName, schema::Peer::Reader peer) {
  return kj::heap<PeerGateway>(registry, refusals, nodeName, peer);
}

}  // namespace orch::rpc
