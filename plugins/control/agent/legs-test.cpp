// Tasks on networks that span hosts, over models of the plugins that carry these out.
#include <catch2/catch.hpp>

#include <algorithm>

#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;
using Calls = std::vector<std::string>;

// Each writes down what it is asked, in one row.
class FakeLegs final : public schema::LegDriver::Server {
 public:
  FakeLegs(Calls& calls, const bool& works, const std::vector<std::string>& hostRoutes)
      : calls(calls), works(works), hostRoutes(hostRoutes) {}
  kj::Promise<void> update(UpdateContext context) override {
    auto change = context.getParams().getChange();
    calls.push_back(kj::str(change.getComplete() ? "legs know " : "legs learn ",
                            change.getNetworks().size(), " ", change.getPeers().size(), " ",
                            change.getServices().size())
                        .cStr());
    for (auto peer : change.getGonePeers()) {
      calls.push_back(kj::str("gone ", peer.getNetwork(), " ", peer.getId()).cStr());
    }
    for (auto id : change.getGoneNetworks()) calls.push_back(kj::str("gone ", id).cStr());
    if (works) return kj::READY_NOW;
    return KJ_EXCEPTION(FAILED, "no such luck");
  }
  kj::Promise<void> plug(PlugContext context) override {
    auto leg = context.getParams().getLeg();
    calls.push_back(kj::str("plug ", leg.getTaskId(), " ", leg.getAddress(), " ", leg.getDevice(),
                            leg.getClosed() ? " closed" : "",
                            leg.getPublished() ? " but for answers" : "")
                        .cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> unplug(UnplugContext context) override {
    calls.push_back(kj::str("unplug ", context.getParams().getTaskId()).cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
  kj::Promise<void> routes(RoutesContext context) override {
    if (hostRoutes.empty()) return KJ_EXCEPTION(DISCONNECTED, "the plugin's process has gone");
    context.getResults().setBalancer("nft");
    context.getResults().setEncryptionKey("key");
    context.getResults().setEncryptionProblem("problem");
    auto list = context.getResults().initRoutes(hostRoutes.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, hostRoutes[i].c_str());
    return kj::READY_NOW;
  }

 private:
  Calls& calls;
  const bool& works;
  const std::vector<std::string>& hostRoutes;  // empty: it does not answer
};

class FakeNames final : public schema::NameServer::Server {
 public:
  explicit FakeNames(Calls& calls) : calls(calls) {}
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
  kj::Promise<void> serve(ServeContext context) override {
    auto params = context.getParams();
    calls.push_back(kj::str("serve ", params.getTaskId(), " ", params.getNetworks()[0],
                            params.getClosed() ? " closed" : "")
                        .cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> release(ReleaseContext context) override {
    calls.push_back(kj::str("release ", context.getParams().getTaskId()).cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }

 private:
  Calls& calls;
};

// Publishes what it is asked to.
class FakePorts final : public schema::PortPublisher::Server {
 public:
  kj::Promise<void> publish(PublishContext context) override {
    context.getResults().setPorts(context.getParams().getPorts());
    return kj::READY_NOW;
  }
  kj::Promise<void> activate(ActivateContext) override { return kj::READY_NOW; }
  kj::Promise<void> deactivate(DeactivateContext) override { return kj::READY_NOW; }
  kj::Promise<void> withdraw(WithdrawContext) override { return kj::READY_NOW; }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
};

struct LegsFixture : TestAgent {
  LegsFixture() {
    host.addService("network.overlay",
                    schema::LegDriver::Client(kj::heap<FakeLegs>(calls, works, routes)));
    host.addService("network.dns", schema::NameServer::Client(kj::heap<FakeNames>(calls)));
    start();
  }
  // The network, a task elsewhere, the service, and t1.
  using More = std::function<void(schema::Task::Builder)>;
  void assignAll(TaskState desired, const More& more = nullptr) {
    auto request = KJ_ASSERT_NONNULL(manager.agent).assignRequest();
    request.setComplete(true);
    auto list = request.initAssignments(4);
    list[0].initNetwork().initMeta().setId("net");
    auto peer = list[1].initPeer();
    peer.setNetwork("net");
    peer.setTaskId("t2");
    list[2].initService().setNetwork("net");
    auto task = list[3].initTask();
    task.initMeta().setId("t1");
    task.setDesired(desired);
    task.initSpec().initNetworks(1)[0].setName("mynet");
    auto leg = task.initLegs(1)[0];
    leg.setNetwork("net");
    leg.setAddress("10.0.0.5/24");
    if (more) more(task);
    CHECK(request.send().wait(world.waitScope()).getRefused().size() == 0);
    advance(1 * kj::SECONDS);
  }
  // A change of the network's members: these are there, or gone.
  void change(const std::vector<const char*>& peers, const std::vector<const char*>& gone = {}) {
    auto request = KJ_ASSERT_NONNULL(manager.agent).assignRequest();
    auto list = request.initAssignments(peers.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      auto peer = list[i].initPeer();
      peer.setNetwork("net");
      peer.setTaskId(peers[i]);
    }
    auto objects = request.initGone(gone.size());
    for (uint32_t i = 0; i < objects.size(); ++i) {
      objects[i].setKind(schema::AssignedKind::PEER);
      objects[i].setNetwork("net");
      objects[i].setId(gone[i]);
    }
    request.send().wait(world.waitScope());
  }
  bool inForce() {
    auto asked = KJ_ASSERT_NONNULL(manager.agent).settledRequest().send().ignoreResult();
    return asked.poll(world.waitScope());
  }
  Calls calls;
  bool works = true;
  std::vector<std::string> routes = {"10.1.0.0/16", "172.30.0.0/16"};
};

TEST_CASE("legs: the node says its host's routes, without those of its own networks", "[agent]") {
  LegsFixture node;
  using Routes = std::vector<std::string>;
  CHECK(node.manager.routes == Routes{"10.1.0.0/16"});
  node.routes = {"10.2.0.0/16"};
  node.host.emit("routes.changed", "network.overlay").wait(node.world.waitScope());
  node.advance(1 * kj::SECONDS);
  CHECK(node.manager.routes == Routes{"10.2.0.0/16"});
  CHECK(node.manager.balancer == "nft");
  CHECK(node.manager.encryptionKey == "key");
  CHECK(node.manager.encryptionProblem == "problem");
  // Who does not answer has not taken anything back.
  node.routes = {};
  node.host.emit("plugin.failed", "network.overlay").wait(node.world.waitScope());
  node.advance(5 * kj::SECONDS);
  CHECK(node.manager.routes == Routes{"10.2.0.0/16"});
  CHECK(node.manager.balancer == "nft");
  CHECK(node.manager.encryptionKey == "key");
}

TEST_CASE("legs: a task is plugged into a network that is known, and out of it again", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  CHECK(node.calls == Calls{"legs know 1 1 1", "plug t1 10.0.0.5/24 eth1", "serve t1 net"});
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.network.attached.count("t1") == 1);  // the way out
  node.calls.clear();
  node.assignAll(TaskState::SHUTDOWN);
  node.advance(30 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
  CHECK(node.calls == Calls{"legs know 1 1 1", "release t1", "unplug t1"});
}

TEST_CASE("legs: a task of internal networks alone has no other way out", "[agent]") {
  struct Case {
    std::vector<bool> internal;  // of each leg
    bool bridge;                 // is named, too
    bool published;
    const char* plug;
    const char* serve;
  };
  Case cases[] = {{{true}, false, false, " closed", " closed"},
                  {{true, true}, false, true, " closed but for answers", " closed"},
                  {{true, false}, false, false, "", ""},
                  {{true}, true, false, "", ""}};
  for (auto& one : cases) {
    LegsFixture node;
    schema::PortPublisher::Client ports = kj::heap<FakePorts>();
    node.host.addService("network.ingress", ports);
    node.assignAll(TaskState::RUNNING, [&](schema::Task::Builder task) {
      auto networks = task.getSpec().initNetworks(one.internal.size() + one.bridge);
      for (uint32_t i = 0; i < networks.size(); ++i) networks[i].setName(kj::str("net", i));
      auto legs = task.initLegs(one.internal.size());
      for (uint32_t i = 0; i < legs.size(); ++i) {
        legs[i].setNetwork("net");
        legs[i].setAddress("10.0.0.5/24");
        legs[i].setInternal(one.internal[i]);
      }
      if (one.published) task.initPorts(1)[0].setPublished(8080);
    });
    CHECK(node.calls[1] == std::string("plug t1 10.0.0.5/24 eth1") + one.plug);
    CHECK(node.calls.back() == std::string("serve t1 net") + one.serve);
    CHECK(node.reported("t1") == TaskState::RUNNING);
  }
}

TEST_CASE("legs: a plugin that starts anew is told everything again", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  node.calls.clear();
  node.host.emit("plugin.started", "network.overlay").wait(node.world.waitScope());
  node.advance(1 * kj::SECONDS);
  CHECK(node.calls == Calls{"legs know 1 1 1"});
}

TEST_CASE("legs: of a change the plugins are told no more than that", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  node.calls.clear();
  node.change({"t3"});
  node.change({"t4"}, {"t3"});
  node.advance(1 * kj::SECONDS);
  CHECK(node.calls == Calls{"legs learn 0 1 0", "legs learn 0 1 0", "gone net t3"});
  node.calls.clear();
  node.works = false;
  node.change({"t5"});
  CHECK_FALSE(node.inForce());
  node.works = true;
  node.advance(1 * kj::SECONDS);
  CHECK(node.calls == Calls{"legs learn 0 1 0", "legs know 1 3 1"});  // whatever it had taken
}

TEST_CASE("legs: what was assigned is in force when the plugins have taken it", "[agent]") {
  LegsFixture node;
  CHECK(node.inForce());  // of no network at all
  node.assignAll(TaskState::RUNNING);
  CHECK(node.inForce());
  node.change({"t4"});
  CHECK(node.inForce());  // whether it is written down by then or not
  node.works = false;
  node.change({"t3"});
  CHECK_FALSE(node.inForce());
  node.works = true;
  node.advance(1 * kj::SECONDS);
  CHECK(node.inForce());
}

TEST_CASE("legs: a task is stopped when its connections have nothing under way", "[agent]") {
  LegsFixture node;
  node.network.busy = true;
  node.assignAll(TaskState::RUNNING);
  node.assignAll(TaskState::SHUTDOWN);
  node.advance(5 * kj::SECONDS);
  CHECK(node.network.drained == Calls{"t1 10000"});
  CHECK(node.runtime.running() == 1);
  node.network.quieten();
  node.advance(1 * kj::SECONDS);
  CHECK(node.runtime.running() == 0);
  CHECK(node.reported("t1") == TaskState::SHUTDOWN);
}

TEST_CASE("legs: after a power cut a task is on its networks as they were told last", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING, [](auto task) { task.getMeta().setVersion(1); });
  node.change({"t3", "t4"});
  node.change({}, {"t3"});
  node.advance(5 * kj::SECONDS);
  node.manager.leave();
  for (int cut = 0; cut < 2; ++cut) {
    node.crash();
    node.runtime.containers.clear();
    node.calls.clear();
    node.start();
    node.advance(30 * kj::SECONDS);
    CAPTURE(cut, node.calls);
    auto told = std::find(node.calls.begin(), node.calls.end(), "legs know 1 2 1");
    auto plugged = std::find_if(node.calls.begin(), node.calls.end(),
                                [](auto& call) { return call.rfind("plug ", 0) == 0; });
    REQUIRE(plugged != node.calls.end());
    CHECK(told < plugged);
    CHECK(node.runtime.running() == 1);
  }
  // Once a manager has spoken, that is what holds, and what is written down.
  node.manager.comeBack();
  node.advance(5 * kj::SECONDS);
  CHECK(node.assign({.complete = true}) == "");
  node.advance(30 * kj::SECONDS);
  CHECK(std::count(node.calls.begin(), node.calls.end(), "legs know 0 0 0") == 1);
  CHECK(node.stored().empty());
  CHECK(node.storedBytes().find("net") == std::string::npos);
}

TEST_CASE("legs: of networks that the manager tells nothing more of, nothing stays written down",
          "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  node.advance(5 * kj::SECONDS);
  REQUIRE(node.storedBytes().find("t2") != std::string::npos);
  node.crash();
  node.start();
  node.calls.clear();
  CHECK(node.assign({.complete = true}) == "");
  node.advance(30 * kj::SECONDS);
  CHECK(node.storedBytes().find("t2") == std::string::npos);
  CHECK(std::count(node.calls.begin(), node.calls.end(), "legs know 0 0 0") == 0);
}

TEST_CASE("legs: what has not changed is not written down again", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  node.advance(5 * kj::SECONDS);
  auto before = node.store.commits();
  node.assignAll(TaskState::RUNNING);
  node.advance(5 * kj::SECONDS);
  CHECK(node.store.commits() == before);
}

TEST_CASE("legs: after a restart of the agent the names of a task are served again", "[agent]") {
  LegsFixture node;
  node.assignAll(TaskState::RUNNING);
  node.crash();
  node.calls.clear();
  node.start();
  node.advance(1 * kj::SECONDS);
  node.assignAll(TaskState::RUNNING);
  CHECK(std::count(node.calls.begin(), node.calls.end(), "serve t1 net") == 1);
  CHECK(node.reported("t1") == TaskState::RUNNING);
}

}  // namespace
}  // namespace orch::control::agent
