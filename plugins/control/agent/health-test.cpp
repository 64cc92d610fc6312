// Tasks whose health is checked, in virtual time.
#include <catch2/catch.hpp>

#include <set>

#include "test-node.h"

namespace orch::control::agent {
namespace {

using schema::Health;
using schema::TaskState;

// Every second, three failures, no start period.
TestAgent::Wanted checkedTask(const char* id, uint64_t startPeriodMs = 0) {
  TestAgent::Wanted wanted;
  wanted.id = id;
  wanted.more = [=](schema::Task::Builder task) {
    auto health = task.getSpec().getContainer().initHealth();
    auto test = health.initTest(2);
    test.set(0, "CMD-SHELL");
    test.set(1, "curl -f localhost");
    health.setIntervalMs(1000);
    health.setStartPeriodMs(startPeriodMs);
    health.setStartIntervalMs(500);
  };
  return wanted;
}

struct FollowedPorts final : public schema::PortPublisher::Server {
  explicit FollowedPorts(std::vector<std::string>& log) : log(log) {}
  kj::Promise<void> publish(PublishContext) override { return kj::READY_NOW; }
  kj::Promise<void> withdraw(WithdrawContext) override { return kj::READY_NOW; }
  kj::Promise<void> retain(RetainContext) override { return kj::READY_NOW; }
  kj::Promise<void> activate(ActivateContext) override {
    log.push_back("leads to it");
    return kj::READY_NOW;
  }
  kj::Promise<void> deactivate(DeactivateContext) override {
    log.push_back("leads elsewhere");
    return kj::READY_NOW;
  }
  std::vector<std::string>& log;
};

}  // namespace

TEST_CASE("health: a task is running, and gets connections, when it was first healthy", "[agent]") {
  TestAgent node;
  std::vector<std::string> log;
  schema::PortPublisher::Client ports = kj::heap<FollowedPorts>(log);
  node.host.addService("network.ingress", ports);
  int code = 1;
  node.runtime.onRun = [&](const std::string&) {
    log.push_back(code == 0 ? "well" : "ill");
    return code;
  };
  node.start();
  auto task = checkedTask("t1");
  task.networks = {"bridge"};
  auto more = task.more;
  task.more = [=](schema::Task::Builder it) {
    more(it);
    it.initPorts(1)[0].setTarget(80);
  };
  REQUIRE(node.assign({.tasks = {task}}) == "");
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::STARTING);
  auto& report = node.manager.tasks["t1"];
  CHECK(report.health == Health::STARTING);
  CHECK(report.message == "started, not healthy yet");
  CHECK(report.error == "health check: exit 1: two");
  CHECK(node.runtime.commands == std::vector<std::string>{"/bin/sh -c curl -f localhost"});
  code = 0;
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  CHECK(node.manager.tasks["t1"].health == Health::HEALTHY);
  CHECK(node.manager.tasks["t1"].error == "");
  CHECK(log == std::vector<std::string>{"ill", "well", "leads to it"});
  code = 7;
  node.advance(5 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.manager.tasks["t1"].health == Health::UNHEALTHY);
  CHECK(node.manager.tasks["t1"].healthOutput == "one\ntwo");
  CHECK(node.manager.tasks["t1"].error == "task: unhealthy container: health check: exit 7: two");
  CHECK(node.runtime.running() == 0);
  CHECK(std::count(log.begin(), log.end(), "ill") == 4);
  CHECK(log.back() == "leads elsewhere");
}

TEST_CASE("health: one that never succeeds fails the task after the start period", "[agent]") {
  TestAgent node;
  node.runtime.onRun = [](const std::string&) { return -1; };
  node.start();
  REQUIRE(node.assign({.tasks = {checkedTask("t1", 10'000)}}) == "");
  node.advance(10 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::STARTING);
  CHECK(node.runtime.commands.size() >= 20);  // twice a second
  node.advance(5 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.manager.tasks["t1"].error ==
        "task: unhealthy container: health check: not done within 30000 ms");
}

TEST_CASE("health: what cannot be run is a failure, a runtime that restarts is none", "[agent]") {
  TestAgent node;
  node.start();
  REQUIRE(node.assign({.tasks = {checkedTask("t1")}}) == "");
  node.advance(2 * kj::SECONDS);
  REQUIRE(node.reported("t1") == TaskState::RUNNING);
  node.runtime.onRun = [](const std::string&) -> int {
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the runtime's process has gone"));
  };
  node.advance(10 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::RUNNING);
  node.runtime.onRun = [](const std::string&) -> int {
    kj::throwFatalException(KJ_EXCEPTION(FAILED, "cannot run 'curl'"));
  };
  node.advance(4 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK(node.manager.tasks["t1"].error ==
        "task: unhealthy container: health check: cannot run 'curl'");
}

TEST_CASE("health: a container that ends, or is to end, is not waited for to be healthy",
          "[agent]") {
  TestAgent node;
  node.runtime.onRun = [](const std::string&) { return 1; };
  node.start();
  REQUIRE(node.assign({.tasks = {checkedTask("ends", 60'000), checkedTask("stops", 60'000)}}) ==
          "");
  node.advance(2 * kj::SECONDS);
  REQUIRE(node.reported("ends") == TaskState::STARTING);
  node.runtime.exit("ends", 4);
  REQUIRE(node.assign({.tasks = {{"stops", TaskState::SHUTDOWN}}}) == "");
  CHECK(node.reported("ends") == TaskState::FAILED);
  CHECK(node.manager.tasks["ends"].error == "task: non-zero exit (4)");
  CHECK(node.reported("stops") == TaskState::SHUTDOWN);
  CHECK(node.runtime.running() == 0);
}

TEST_CASE("health: of the spec or the image, or switched off", "[agent]") {
  TestAgent node;
  node.runtime.usesImages = true;
  node.images.configure = [](schema::ImageConfig::Builder config) {
    auto test = config.initHealth().initTest(2);
    test.set(0, "CMD");
    test.set(1, "of-image");
    config.getHealth().setIntervalMs(1000);
  };
  node.start();
  TestAgent::Wanted off{"off"};
  off.more = [](schema::Task::Builder task) {
    task.getSpec().getContainer().initHealth().initTest(1).set(0, "NONE");
  };
  REQUIRE(node.assign({.tasks = {{"image"}, off}}) == "");
  CHECK(node.reported("image") == TaskState::STARTING);
  CHECK(node.reported("off") == TaskState::RUNNING);
  CHECK(node.manager.tasks["off"].health == Health::NONE);
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("image") == TaskState::RUNNING);
  CHECK(node.runtime.commands == std::vector<std::string>{"of-image"});
}

TEST_CASE("health: a restart of orchd sets nothing back, and all is looked at again", "[agent]") {
  TestAgent node;
  std::set<std::string> ill = {"starts"};
  node.runtime.onRun = [&](const std::string& id) { return ill.count(id) > 0 ? 1 : 0; };
  node.start();
  REQUIRE(node.assign({.tasks = {checkedTask("runs"), checkedTask("starts", 10'000)}}) == "");
  node.advance(5 * kj::SECONDS);
  REQUIRE(node.reported("runs") == TaskState::RUNNING);
  REQUIRE(node.reported("starts") == TaskState::STARTING);
  node.crash();
  node.manager.tasks.clear();
  ill.insert("runs");
  node.start();
  node.advance(0 * kj::SECONDS);
  CHECK(node.reported("runs") == TaskState::RUNNING);
  CHECK(node.reported("starts") == TaskState::STARTING);
  node.advance(4 * kj::SECONDS);
  CHECK(node.reported("runs") == TaskState::FAILED);
  CHECK(node.reported("starts") == TaskState::STARTING);
  node.advance(5 * kj::SECONDS);  // its start period is over, counted from its start
  CHECK(node.reported("starts") == TaskState::FAILED);
}

TEST_CASE("health: one that is unhealthy is ended, also by the next orchd", "[agent]") {
  TestAgent node;
  int left = 3;
  bool ill = false;
  node.runtime.onRun = [&](const std::string&) {
    if (ill && --left == 0) node.runtime.hang();
    return ill ? 1 : 0;
  };
  node.start();
  REQUIRE(node.assign({.tasks = {checkedTask("t1")}}) == "");
  node.advance(1 * kj::SECONDS);
  REQUIRE(node.reported("t1") == TaskState::RUNNING);
  ill = true;
  node.advance(4 * kj::SECONDS);
  REQUIRE(node.reported("t1") == TaskState::RUNNING);
  REQUIRE(node.manager.tasks["t1"].health == Health::UNHEALTHY);
  node.crash();
  ill = false;
  node.runtime.resume();
  node.start();
  node.advance(1 * kj::SECONDS);
  CHECK(node.reported("t1") == TaskState::FAILED);
  CHECK_THAT(node.manager.tasks["t1"].error, Catch::StartsWith("task: unhealthy container"));
  CHECK(node.runtime.running() == 0);
}

TEST_CASE("health: many checks do not come together", "[agent]") {
  TestAgent node;
  node.start();
  TestAgent::Order order;
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("t" + std::to_string(i));
  for (auto& name : names) order.tasks.push_back(checkedTask(name.c_str()));
  REQUIRE(node.assign(order) == "");
  node.advance(1 * kj::SECONDS);
  node.crash();
  std::map<int64_t, int> atMs;
  node.runtime.onRun = [&](const std::string&) {
    ++atMs[node.world.env().nowNs() / 1'000'000];
    return 0;
  };
  node.start();
  node.advance(1 * kj::SECONDS);
  int most = 0, all = 0;
  for (auto& [ms, count] : atMs) most = std::max(most, count), all += count;
  CHECK(all >= 100);
  CHECK(most <= 10);
}

}  // namespace orch::control::agent
