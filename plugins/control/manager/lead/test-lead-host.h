// For the tests of several managers: hosts that each have one, and ways between them that break.
#pragma once

#include <capnp/membrane.h>
#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include <algorithm>

#include "lead/front.h"
#include "lead/test-wire.h"
#include "member/test-trust.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/hand-on.h"
#include "orch/revocable.h"
#include "orch/schema/gateway.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {

using PeerServices = std::map<std::string, schema::PeerService::Client>;

// A manager's port, as it is for another node.
class LeadPort final : public schema::Gateway::Server {
 public:
  LeadPort(PeerServices& services, schema::Role role, std::string id)
      : open_(services), role(role), id(kj::mv(id)) {}
  kj::Promise<void> version(VersionContext) override { return kj::READY_NOW; }
  // Those that it opens for the peer.
  kj::Promise<void> services(ServicesContext context) override {
    auto found = open_.find("manager");
    if (found == open_.end()) return kj::READY_NOW;
    auto opened = attempt(opening(found->second).ignoreResult()).promise();
    return opened.then([context](auto&& outcome) mutable {
      if (outcome.ok()) context.getResults().initNames(1).set(0, "manager");
    });
  }
  kj::Promise<void> service(ServiceContext context) override {
    auto found = open_.find(context.getParams().getName().cStr());
    if (found == open_.end()) fail(kj::str("it has no such service"));
    return opening(found->second).then([context](auto&& opened) mutable {
      context.getResults().setCapability(opened.getService());
    });
  }

 private:
  capnp::RemotePromise<schema::PeerService::OpenResults> opening(schema::PeerService::Client& at) {
    auto request = at.openRequest();
    auto peer = request.initPeer();
    peer.setRole(role);
    peer.setId(id.c_str());
    return request.send();
  }
  PeerServices& open_;
  const schema::Role role;
  const std::string id;
};

class LeadHost;
using LeadHosts = std::map<std::string, LeadHost*>;  // by address

// A host with a manager, or with one to come.
class LeadHost final {
 public:
  LeadHost(TestCluster& around, LeadHosts& all, const char* name, char digit)
      : world(around.world),
        all(all),
        address(std::string("10.0.0.") + digit + ":2377"),
        id(std::string(24, 'n') + digit),
        folder(kj::str(name, "-", digit)),
        host(folder.path(), "/nowhere/run", "control.manager") {
    host.setNodeId(id.c_str());
    host.addService("store.local", around.store.client());
    host.addService("scheduler.spread", around.spread());
    host.addService("trust", kernel.client());
    kernel.reached = [this](auto& to) { return reach(to); };
    all[address] = this;
  }
  ~LeadHost() {
    if (plugin != nullptr) stop();
    all.erase(address);
  }

  void start() {
    kernel.holder.id = id;
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    auto client = newPlugin(world.env(), &makeManager);
    host.configure(client, settings.asReader(), world.waitScope());
    client.recoverRequest().send().wait(world.waitScope());
    auto started = client.startRequest().send().wait(world.waitScope());
    for (auto service : started.getServices()) {
      if (service.getName() == "cluster") {
        control = service.getCapability().castAs<schema::ClusterControl>();
      }
      if (service.getName() == "dispatcher") {
        dispatcher = service.getCapability().castAs<schema::Dispatcher>();
      }
      if (service.getName() == "cluster-tasks") {
        tasksFeed = service.getCapability().castAs<schema::TaskFeed>();
      }
      if (service.getName() == "renewal") serveRenewal(service.getCapability());
      if (service.hasPeers()) peers.insert_or_assign(service.getName().cStr(), service.getPeers());
    }
    plugin = kj::mv(client);
  }
  // The agent of the host.
  void openAgent(std::vector<std::string> plugins = {"overlay"}) {
    agent = std::make_unique<ScriptedNode>(world, dispatcher, id);
    agent->drivers = std::move(plugins);
    agent->address = address;
    agent->open();
  }
  void stop() {
    agent = nullptr;
    host.addService("renewal", KJ_EXCEPTION(DISCONNECTED, "the manager has stopped"));
    KJ_IF_MAYBE (running, plugin) running->stopRequest().send().wait(world.waitScope());
    plugin = nullptr;
    control = nullptr;
    dispatcher = nullptr;
    tasksFeed = nullptr;
    peers.clear();
  }
  // As if its process were killed; what it was about to do in a store is up to that.
  void crash() {
    agent = nullptr;
    host.addService("renewal", KJ_EXCEPTION(DISCONNECTED, "the manager is gone"));
    // What it asks itself would keep it for ever.
    renewalWire->reject(KJ_EXCEPTION(DISCONNECTED, "the manager is gone"));
    KJ_IF_MAYBE (killed, plugin) corpses.push_back(kj::mv(*killed));
    plugin = nullptr;
    control = nullptr;
    dispatcher = nullptr;
    tasksFeed = nullptr;
    peers.clear();
  }
  void init() {
    auto request = control.initRequest();
    request.setRequestId("init");
    request.setAddress(address.c_str());
    request.send().wait(world.waitScope());
    kernel.managers = {address};
  }
  // As its kernel does it, at the port of the other one.
  capnp::RemotePromise<schema::Join::JoinResults> asks(LeadHost& at, const char* secret) {
    auto open = at.peers.at("join").openRequest();
    open.initPeer().setRole(schema::Role::JOINER);
    auto keys = trust::newKeyRequest();
    auto request = open.send().getService().castAs<schema::Join>().joinRequest();
    request.setSecret(secret);
    request.setRequest(keys.request.c_str());
    return request.send();
  }
  std::string join(LeadHost& at, const char* secret) {
    auto joined = attempt(asks(at, secret)).wait(world.waitScope());
    if (!joined.ok()) return joined.message().cStr();
    kernel.holder = trust::holderOf(joined.value().getCertificate().cStr());
    kernel.member = true;
    kernel.address = address;
    kernel.take(trust::trustedOf(joined.value().getTrusted()));
    kernel.managers.clear();
    for (auto manager : joined.value().getManagers()) kernel.managers.push_back(manager.cStr());
    id = kernel.holder.id;
    host.setNodeId(id.c_str());
    return {};
  }
  std::string secret(schema::Role role = schema::Role::MANAGER) {
    auto request = control.joinTokenRequest();
    request.setRequestId("token");
    request.setRole(role);
    std::string token = request.send().wait(world.waitScope()).getToken().cStr();
    return token.substr(token.rfind('-') + 1);
  }
  // What a user is told; empty: it is there.
  std::string create(const char* name) {
    auto request = control.createServiceRequest();
    request.setRequestId(kj::str(id.c_str(), name));
    auto spec = request.initSpec();
    spec.setName(name);
    spec.initTask().initContainer().setImage("web");
    auto made = attempt(request.send()).wait(world.waitScope());
    return made.ok() ? std::string() : plainText(made.error()).cStr();
  }
  std::string leader() {
    return control.infoRequest().send().wait(world.waitScope()).getInfo().getLeader().cStr();
  }
  uint64_t epoch() {
    return control.infoRequest().send().wait(world.waitScope()).getInfo().getEpoch();
  }
  // Nobody reaches it any more, nor it anybody.
  void cut() {
    isCut = true;
    for (auto& wire : std::exchange(wires, {})) wire->cut();
  }
  void mend() { isCut = false; }
  // It takes no further connection.
  void refuse() { isCut = true; }
  // What others ask it by the connections that there are arrives later.
  void delay() {
    for (auto& wire : wires) wire->delay();
  }
  void deliver() {
    for (auto& wire : wires) wire->deliver();
  }
  // Others have so many connections to it.
  size_t connections() const {
    return std::count_if(wires.begin(), wires.end(), [](auto& wire) { return !wire->isCut(); });
  }
  uint32_t lines(const char* text) {
    uint32_t count = 0;
    for (auto& line : host.logLines()) count += line.find(text) != std::string::npos;
    return count;
  }

  testing::VirtualWorld& world;
  LeadHosts& all;
  const std::string address;
  std::string id;
  testing::TestFolder folder;
  testing::TestHost host;
  TestTrust kernel;
  schema::ClusterControl::Client control = nullptr;
  schema::Dispatcher::Client dispatcher = nullptr;
  schema::TaskFeed::Client tasksFeed = nullptr;
  PeerServices peers;
  std::unique_ptr<ScriptedNode> agent;
  uint32_t tried = 0;  // to reach others, by it

 private:
  void serveRenewal(capnp::Capability::Client renewal) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    renewalWire = kj::mv(pair.fulfiller);
    host.addService("renewal", capnp::membrane(kj::mv(renewal),
                                               kj::refcounted<Revocable>(kj::mv(pair.promise))));
  }
  capnp::Capability::Client reach(const std::string& to) {
    ++tried;
    auto found = all.find(to);
    bool there = found != all.end() && !isCut && !found->second->isCut;
    if (!there) return KJ_EXCEPTION(DISCONNECTED, "connection refused");
    auto wire = kj::refcounted<TestWire>();
    found->second->wires.push_back(kj::addRef(*wire));
    schema::Gateway::Client port =
        kj::heap<LeadPort>(found->second->peers, schema::Role::MANAGER, id);
    return reachBy(kj::mv(wire), kj::mv(port));
  }

  bool isCut = false;
  std::vector<kj::Own<TestWire>> wires;
  kj::Own<kj::PromiseFulfiller<void>> renewalWire;
  kj::Maybe<schema::Plugin::Client> plugin;
  std::vector<schema::Plugin::Client> corpses;  // what was going on in them may outlive a crash
};

// A store as one host reaches it: by a server of its own, which may not run.
class OwnServer final : public schema::Store::Server {
 public:
  OwnServer(schema::Store::Client all, const bool& silent) : all(kj::mv(all)), silent(silent) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    constexpr uint16_t LIMITS = 0;
    if (silent && methodId != LIMITS) fail(kj::str("its server does not run"));
    return {handOn(all, interfaceId, methodId, call), false};
  }

 private:
  schema::Store::Client all;
  const bool& silent;
};

struct LeadFixture {
  explicit LeadFixture(const char* name)
      : one(around, hosts, name, '1'), two(around, hosts, name, '2') {
    around.store.share();
  }
  // The first leads, and the second follows.
  void together() {
    one.start();
    around.settle();
    one.init();
    REQUIRE(two.join(one, one.secret().c_str()).empty());
    two.start();
    around.advance(1 * kj::SECONDS);
    two.openAgent();
    around.advance(1 * kj::SECONDS);
  }
  // Of a task that is not there; no manager would.
  void commitLacking() {
    auto request = around.store.client().commitRequest();
    auto batch = request.initBatch();
    batch.setId("lacking");
    auto op = batch.initOps(1)[0];
    op.setKind("task-status");
    op.setKey("nobody");
    capnp::MallocMessageBuilder message;
    message.initRoot<schema::TaskStatus>().setState(schema::TaskState::RUNNING);
    op.setPut(capnp::messageToFlatArray(message).asBytes());
    request.setEpoch(around.store.epoch());
    REQUIRE(request.send().wait(around.world.waitScope()).getResult().isCommitted());
  }
  TestCluster around;  // the store and a scheduler
  LeadHosts hosts;
  LeadHost one, two;
};

}  // namespace orch::control::manager
