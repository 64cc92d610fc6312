// What arrives on orchd's socket and at its port. An input is either the bytes of a stranger, who
// ends a connection at worst; or calls with any parameters to the services of a whole node in
// virtual time, as a user, a host that joins, a node or the node's manager, which answer or refuse.
// Whatever comes, the kernel answers afterwards and all plugins run.
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include "any-call.h"
#include "kernel/kernel.h"
#include "orch/attempt.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/filter.capnp.h"
#include "orch/schema/image.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/schema/store.capnp.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"
#include "orch/trust/certificate.h"

namespace orch::fuzz {
namespace {

constexpr size_t MAX_CALLS = 24;           // of one input
constexpr uint32_t INPUTS_PER_NODE = 200;  // what they leave behind makes later ones slower

// Between the node's agent and its manager: the agent's capability passes here.
class Between final : public schema::Dispatcher::Server {
 public:
  Between(rpc::Registry& services, kj::Maybe<schema::Agent::Client>& agent)
      : services(services), agent(agent) {}
  kj::Promise<void> open(OpenContext context) override {
    agent = context.getParams().getAgent();
    return services.find("dispatcher").then([context](auto&& found) mutable {
      auto request = found.template castAs<schema::Dispatcher>().openRequest();
      request.adoptDescription(capnp::Orphanage::getForMessageContaining(
                                   schema::Dispatcher::OpenParams::Builder(request))
                                   .newOrphanCopy(context.getParams().getDescription()));
      request.setNodeId(context.getParams().getNodeId());
      request.setAgent(context.getParams().getAgent());
      return context.tailCall(kj::mv(request));
    });
  }

 private:
  rpc::Registry& services;
  kj::Maybe<schema::Agent::Client>& agent;
};

// For many inputs, as in life: what one connection does must not harm the next.
class Node final {
 public:
  Node() : kernel(world.env(), manifest(), places(), "") {
    kernel.open().wait(world.waitScope());
    kernel.services().offer("between", kj::heap<Between>(kernel.services(), agent));
    kernel.start().wait(world.waitScope());
    // Some may still be on their way.
    for (int second = 0; second < 60 && !allRun(); ++second) world.advance(1 * kj::SECONDS);
    check();
    auto init = service<schema::ClusterControl>(kernel.gateway(), "cluster").initRequest();
    init.setRequestId("init");
    init.setAddress("127.0.0.1:2377");
    // Also where nobody can listen the authority is made, and what joiners have to know.
    attempt(init.send()).wait(world.waitScope());
    readSecrets();
    words.push_back(trust::newKeyRequest().request);
    words.push_back(kernel.identity().id);
    KJ_ASSERT(joins(), "a joiner that knows all does not get in");
  }
  ~Node() noexcept(false) { kernel.stop().wait(world.waitScope()); }

  void bytes(kj::ArrayPtr<const kj::byte> data) {
    auto pipe = kj::newTwoWayPipe();
    capnp::TwoPartyServer server(kernel.gateway());
    server.accept(kj::mv(pipe.ends[0]));
    auto answers = pipe.ends[1]->readAllBytes(1 << 20).then([](kj::Array<kj::byte>&&) {},
                                                            [](kj::Exception&&) {});
    auto sent = pipe.ends[1]
                    ->write(data.begin(), data.size())
                    .then([&]() { pipe.ends[1]->shutdownWrite(); }, [](kj::Exception&&) {})
                    .eagerlyEvaluate(nullptr);
    world.settle();
  }

  void calls(kj::ArrayPtr<const kj::byte> data) {
    auto pipe = kj::newTwoWayPipe();
    capnp::TwoPartyServer server(kernel.gateway());
    server.accept(kj::mv(pipe.ends[0]));
    capnp::TwoPartyClient connection(*pipe.ends[1]);
    auto gateway = connection.bootstrap().castAs<schema::Gateway>();
    AnyCalls calls(data, words);
    calls.add(service<schema::ClusterControl>(gateway, "cluster"));
    calls.add(service<schema::Store>(gateway, "store.local#other"));
    calls.add(service<schema::ImageStore>(gateway, "image.oci"));
    calls.add(service<schema::Dispatcher>(gateway, "dispatcher"));
    calls.add(service<schema::Runtime>(gateway, "runtime.sim"));
    calls.add(service<schema::Scheduler>(gateway, "scheduler.spread"));
    calls.add(service<schema::Filter>(gateway, "filter.constraint"));
    calls.add(service<schema::Kernel>(gateway, "kernel"));
    calls.add(service<schema::Join>(forPeer(schema::Role::JOINER, ""), "join"));
    auto worker = forPeer(schema::Role::WORKER, kernel.identity().id.c_str());
    calls.add(service<schema::Dispatcher>(worker, "dispatcher"));
    calls.add(service<schema::Renewal>(worker, "renewal"));
    calls.add(worker);
    calls.add(forPeer(schema::Role::ADMIN, "ann"));
    // Cap'n Proto takes what it converts away.
    KJ_IF_MAYBE (told, agent) calls.add(schema::Agent::Client(*told));
    for (size_t i = 0; i < MAX_CALLS && calls.next(); ++i) world.settle();
    world.advance(300 * kj::MILLISECONDS);
  }

  void check() {
    kernel.gateway().versionRequest().send().wait(world.waitScope());
    for (auto* runner : kernel.plugins().runners()) {
      KJ_ASSERT(runner->state() == plugin::PluginRunner::State::RUNNING, runner->entry().id.c_str(),
                runner->reason().c_str());
    }
  }

 private:
  bool allRun() {
    for (auto* runner : kernel.plugins().runners()) {
      if (runner->state() != plugin::PluginRunner::State::RUNNING) return false;
    }
    return true;
  }
  // Of the tokens.
  void readSecrets() {
    for (auto role : {schema::Role::WORKER, schema::Role::MANAGER}) {
      auto request =
          service<schema::ClusterControl>(kernel.gateway(), "cluster").joinTokenRequest();
      request.setRole(role);
      auto token = request.send().wait(world.waitScope());
      words.push_back(trust::parseToken(token.getToken().cStr()).secret);
    }
  }
  // As a fuzzer's call may: so that it is known to get behind the secret.
  bool joins() {
    auto join = service<schema::Join>(forPeer(schema::Role::JOINER, ""), "join").joinRequest();
    join.setSecret(words.at(0).c_str());
    join.setRequest(words.at(2).c_str());
    return attempt(join.send()).wait(world.waitScope()).ok();
  }
  schema::Gateway::Client forPeer(schema::Role role, kj::StringPtr id) {
    capnp::MallocMessageBuilder message;
    auto peer = message.initRoot<schema::Peer>();
    peer.setRole(role);
    peer.setId(id);
    return kernel.gatewayFor(peer);
  }
  template <typename T>
  static typename T::Client service(schema::Gateway::Client gateway, kj::StringPtr name) {
    auto request = gateway.serviceRequest();
    request.setName(name);
    return request.send().getCapability().castAs<T>();
  }
  config::Manifest manifest() {
    auto text = kj::str("[node]\nname = 'fuzz'\nlogLevel = 'error'\ndata = '", folder.sub("data"),
                        "'\nrun = '", folder.sub("run"), "'\n");
    for (auto id :
         {"store.local", "store.local#agent", "store.local#other", "scheduler.spread",
          "filter.constraint", "runtime.sim", "image.oci", "control.manager", "control.agent"}) {
      text = kj::str(text, "[[plugin]]\nid = '", id, "'\nisolation = 'kernel'\n");
    }
    text = kj::str(text, "services = ['between']\nconfig = { dispatcher = 'between' }\n");
    return config::parseManifest(text.cStr(), "fuzz.toml");
  }
  static plugin::PluginPlaces places() {
    plugin::PluginPlaces places;
    places.folders = {SHIPPED_PLUGINS};
    places.ownFolder = SHIPPED_PLUGINS;
    return places;
  }

  kj::Maybe<schema::Agent::Client> agent;
  std::vector<std::string> words;
  testing::TestFolder folder{"rpc-fuzz"};
  testing::VirtualWorld world{1};
  Kernel kernel;
};

}  // namespace
}  // namespace orch::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static kj::Own<orch::fuzz::Node> node;
  static uint32_t inputs = 0;
  if (size == 0) return 0;
  if (inputs++ % orch::fuzz::INPUTS_PER_NODE == 0) {
    node = nullptr;
    node = kj::heap<orch::fuzz::Node>();
  }
  auto rest = kj::arrayPtr(data + 1, size - 1);
  if (data[0] % 8 == 0) {
    node->bytes(rest);
  } else {
    node->calls(rest);
  }
  node->check();
  return 0;
}
