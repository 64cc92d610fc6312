// Whether a node has what it should have of networks: what its plugins say, what these lack of its
// tasks, and what it was not told.
#include <catch2/catch.hpp>

#include "orch/fail.h"
#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::TaskState;
using Lines = std::vector<std::string>;

// What the plugin of legs answers, and what it was asked.
struct LegsPlugin {
  std::vector<std::string> legs;  // tasks
  std::string wrong;              // an object
  std::string failure;
  Lines asked;
};

class CheckedLegs final : public schema::LegDriver::Server {
 public:
  explicit CheckedLegs(LegsPlugin& plugin) : plugin(plugin) {}
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
  kj::Promise<void> plug(PlugContext context) override {
    plugin.legs = {context.getParams().getLeg().getTaskId().cStr()};
    return kj::READY_NOW;
  }
  kj::Promise<void> unplug(UnplugContext) override { return kj::READY_NOW; }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
  kj::Promise<void> routes(RoutesContext) override { return kj::READY_NOW; }
  kj::Promise<void> check(CheckContext context) override {
    auto params = context.getParams();
    plugin.asked.push_back(
        kj::str("check ", params.getNetwork(), params.getRepair() ? " repair" : "").cStr());
    if (!plugin.failure.empty()) fail(kj::str(plugin.failure.c_str()));
    auto results = context.getResults();
    results.setThings(5);
    if (!plugin.wrong.empty()) {
      auto finding = results.initFindings(1)[0];
      finding.setNetwork("net");
      finding.setObject(plugin.wrong.c_str());
      finding.setRepaired(params.getRepair());
    }
    auto members = results.initMembers(plugin.legs.size());
    for (uint32_t i = 0; i < members.size(); ++i) {
      members[i].setNetwork("net");
      members[i].setId(plugin.legs[i].c_str());
    }
    return kj::READY_NOW;
  }

 private:
  LegsPlugin& plugin;
};

class SilentNames final : public schema::NameServer::Server {
 public:
  kj::Promise<void> update(UpdateContext) override { return kj::READY_NOW; }
  kj::Promise<void> serve(ServeContext) override { return kj::READY_NOW; }
  kj::Promise<void> release(ReleaseContext) override { return kj::READY_NOW; }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
};

using Fill = std::function<void(capnp::List<schema::Assignment>::Builder)>;

struct CheckFixture : TestAgent {
  CheckFixture() {
    host.addService("network.overlay", schema::LegDriver::Client(kj::heap<CheckedLegs>(plugin)));
    host.addService("network.dns", schema::NameServer::Client(kj::heap<SilentNames>()));
    start();
    auto request = KJ_ASSERT_NONNULL(manager.agent).assignRequest();
    request.setComplete(true);
    auto list = request.initAssignments(4);
    fillNetworks(list);
    auto task = list[3].initTask();
    task.initMeta().setId("t1");
    task.setDesired(TaskState::RUNNING);
    task.initSpec().initNetworks(1)[0].setName("front");
    auto leg = task.initLegs(1)[0];
    leg.setNetwork("net");
    leg.setAddress("10.0.0.5/24");
    CHECK(request.send().wait(world.waitScope()).getRefused().size() == 0);
    advance(1 * kj::SECONDS);
    REQUIRE(reported("t1") == TaskState::RUNNING);
  }
  // The network, a task elsewhere, and the service.
  static void fillNetworks(capnp::List<schema::Assignment>::Builder list) {
    auto network = list[0].initNetwork();
    network.initMeta().setId("net");
    network.setName("front");
    network.setSubnet("10.0.0.0/24");
    auto peer = list[1].initPeer();
    peer.setNetwork("net");
    peer.setTaskId("t2");
    peer.setName("web.2");
    peer.setAddress("10.0.0.6");
    peer.setNodeAddress("192.168.0.2");
    auto service = list[2].initService();
    service.setNetwork("net");
    service.setServiceId("s");
    service.setName("web");
  }
  // "object: expected, found", " repaired"; what is wrong is expected in `more` beside the above.
  Lines repair(const std::string& network = "") { return check(network, 0, nullptr, true); }
  Lines check(const std::string& network = "", uint32_t more = 0, const Fill& fill = nullptr,
              bool repair = false) {
    auto request = KJ_ASSERT_NONNULL(manager.agent).checkNetworksRequest();
    request.setNetwork(network.c_str());
    request.setRepair(repair);
    auto list = request.initExpected(3 + more);
    fillNetworks(list);
    if (fill) fill(list);
    auto sent = request.send();
    advance(3 * kj::SECONDS);
    auto answer = sent.wait(world.waitScope());
    things = answer.getThings();
    untold = answer.getUntold();
    Lines lines;
    for (auto one : answer.getFindings()) {
      lines.push_back(kj::str(one.getObject(), ": ", one.getExpected(), ", ", one.getFound(),
                              one.getRepaired() ? " repaired" : "")
                          .cStr());
    }
    for (auto text : answer.getUnasked()) lines.push_back(kj::str("unasked ", text).cStr());
    return lines;
  }
  LegsPlugin plugin;
  uint32_t things = 0;
  bool untold = false;
};

TEST_CASE("network check: a node that has all that it was told has nothing to say", "[agent]") {
  CheckFixture node;
  CHECK(node.check() == Lines{});
  CHECK(node.things == 3 + 5 + 1);  // told, of the plugin, the task's leg
  CHECK_FALSE(node.untold);
  CHECK(node.plugin.asked == Lines{"check "});
  CHECK(node.check("other") == Lines{});
  CHECK(node.plugin.asked.back() == "check other");
}

TEST_CASE("network check: what a plugin finds is passed on, and one that fails is named",
          "[agent]") {
  CheckFixture node;
  node.plugin.wrong = "neighbour 10.0.0.6";
  CHECK(node.check() == Lines{"neighbour 10.0.0.6: , "});
  CHECK(node.repair("net") == Lines{"neighbour 10.0.0.6: ,  repaired"});
  CHECK(node.plugin.asked.back() == "check net repair");
  node.plugin.failure = "no such luck";
  CHECK(node.check() == Lines{"unasked network.overlay: no such luck"});
}

TEST_CASE("network check: a task that a plugin has lost is found, and plugged in again",
          "[agent]") {
  CheckFixture node;
  node.plugin.legs.clear();
  CHECK(node.check() == Lines{"entry of task t1 in network.overlay: present, "});
  CHECK(node.check("other") == Lines{});
  CHECK(node.repair() == Lines{"entry of task t1 in network.overlay: present,  repaired"});
  CHECK(node.plugin.legs == Lines{"t1"});
  CHECK(node.check() == Lines{});
}

TEST_CASE("network check: what a node was not told, or told otherwise, is found", "[agent]") {
  CheckFixture node;
  auto more = [](capnp::List<schema::Assignment>::Builder list) {
    list[1].getPeer().setServing(true);
    auto peer = list[3].initPeer();
    peer.setNetwork("net");
    peer.setTaskId("t3");
    peer.setName("web.3");
    peer.setAddress("10.0.0.7");
    peer.setNodeAddress("192.168.0.3");
    auto other = list[4].initMeshNode();
    other.setNodeId("n2");
    other.setAddress("192.168.0.2");
    auto port = other.initPorts(1)[0];
    port.setPublished(8080);
    port.setTasks(2);
  };
  CHECK(node.check("", 2, more) ==
        Lines{"published ports of node n2, as told: at 192.168.0.2, 8080/tcp of 2, ",
              "peer web.2, as told: 10.0.0.6 on 192.168.0.2, serving, 10.0.0.6 on 192.168.0.2",
              "peer web.3, as told: 10.0.0.7 on 192.168.0.3, "});
  CHECK(node.untold);
  CHECK(node.check("net", 2, more).size() == 2);
  auto none = [](capnp::List<schema::Assignment>::Builder list) { list[1].initVolume(); };
  CHECK(node.check("", 0, none) == Lines{"peer web.2, as told: , 10.0.0.6 on 192.168.0.2"});
}

}  // namespace
}  // namespace orch::control::agent
