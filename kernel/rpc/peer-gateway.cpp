#include "kernel/rpc/peer-gateway.h"

#include <capnp/message.h>
#include <unistd.h>

#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::rpc {

namespace {

class PeerGateway final : public schema::Gateway::Server {
 public:
  PeerGateway(Registry& registry, const std::string& nodeName, schema::Peer::Reader given)
      : registry(registry), nodeName(nodeName) {
    message.setRoot(given);
  }

  kj::Promise<void> version(VersionContext context) override {
    auto results = context.getResults();
    results.setVersion(ORCH_VERSION);
    results.setApi(API_VERSION);
    results.setNode(nodeName.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    std::string name = context.getParams().getName().cStr();
    KJ_IF_MAYBE (service, registry.forPeers(name)) {
      auto request = service->openRequest();
      request.setPeer(peer());
      return request.send().then([context](auto&& opened) mutable {
        context.getResults().setCapability(opened.getService());
      });
    }
    fail(kj::str("node '", nodeName.c_str(), "' has no service '", name.c_str(),
                 "' for other hosts"));
  }
  kj::Promise<void> services(ServicesContext context) override { return list(context); }

 private:
  schema::Peer::Reader peer() { return message.getRoot<schema::Peer>().asReader(); }

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
  const std::string nodeName;
  capnp::MallocMessageBuilder message;
};

}  // namespace

schema::Gateway::Client newPeerGateway(Registry& registry, const std::string& nodeName,
                                       schema::Peer::Reader peer) {
  return kj::heap<PeerGateway>(registry, nodeName, peer);
}

}  // namespace orch::rpc
