#include <catch2/catch.hpp>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using Condition = schema::RestartPolicy::Condition;
using schema::TaskState;

Spec withPolicy(std::function<void(schema::RestartPolicy::Builder)> more) {
  Spec spec;
  spec.more = [more](schema::ServiceSpec::Builder spec) { more(spec.getTask().initRestart()); };
  return spec;
}

std::string onlyTask(ScriptedNode& node) {
  for (auto& entry : node.tasks) {
    if (entry.second.state < TaskState::COMPLETE) return entry.first;
  }
  return {};
}

TEST_CASE("restart: a task that fails is replaced in the pass that hears of it", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create({});
  cluster.settle();
  auto first = onlyTask(node);
  node.onStart = [](auto&, auto&) { return TaskState::NEW; };  // says nothing more
  auto before = cluster.store.commits();
  node.report(first, TaskState::FAILED, "task: non-zero exit (137)");
  cluster.settle();
  CHECK(cluster.store.commits() == before + 1);
  CHECK(cluster.states("web") == "assigned");
  CHECK(cluster.states("web", "shutdown") == "failed");
  auto tasks = cluster.tasks("web");
  CHECK(std::string(tasks.getTasks()[0].getRestartOf().cStr()) == first);
  CHECK(tasks.getTasks()[0].getSlot() == 1);
  CHECK(tasks.getTasks()[0].getRestarts() == 1);
}

TEST_CASE("restart: any, on-failure and none", "[manager]") {
  struct Case {
    Condition condition;
    TaskState end;
    bool again;
  };
  for (auto& test : {Case{Condition::ANY, TaskState::COMPLETE, true},
                     Case{Condition::ANY, TaskState::FAILED, true},
                     Case{Condition::ON_FAILURE, TaskState::COMPLETE, false},
                     Case{Condition::ON_FAILURE, TaskState::FAILED, true},
                     Case{Condition::NONE, TaskState::COMPLETE, false},
                     Case{Condition::NONE, TaskState::FAILED, false}}) {
    TestCluster cluster;
    cluster.start();
    auto& node = cluster.addNode();
    node.open();
    cluster.create(withPolicy([&](auto policy) { policy.setCondition(test.condition); }));
    cluster.settle();
    node.report(onlyTask(node), test.end);
    cluster.settle();
    CAPTURE(static_cast<int>(test.condition), static_cast<int>(test.end));
    CHECK(cluster.states("web") == (test.again ? "running" : ""));
    auto progress = cluster.progress("web");
    bool failed = test.end == TaskState::FAILED;
    CHECK((progress.getProgress().getVerdict() == schema::Verdict::CONVERGED) ==
          (test.again || !failed));
    CHECK((progress.getProgress().getVerdict() == schema::Verdict::STUCK) ==
          (!test.again && failed));
  }
}

TEST_CASE("restart: a fixed delay is waited for, with the task prepared meanwhile", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create(withPolicy([](auto policy) { policy.setDelayMs(5000); }));
  cluster.settle();
  node.report(onlyTask(node), TaskState::FAILED);
  cluster.settle();
  CHECK(cluster.states("web") == "ready");
  cluster.advance(4900 * kj::MILLISECONDS);
  CHECK(cluster.states("web") == "ready");
  cluster.advance(200 * kj::MILLISECONDS);
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("restart: a crash loop backs off, and is forgotten after a minute of running",
          "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  std::vector<int64_t> startsMs;
  bool crashes = true;
  auto& clock = cluster.world.env();
  int64_t beginNs = clock.nowNs();
  node.onStart = [&](auto&, auto&) {
    startsMs.push_back((clock.nowNs() - beginNs) / 1'000'000);
    return crashes ? TaskState::FAILED : TaskState::RUNNING;
  };
  node.open();
  cluster.create({});
  cluster.advance(120 * kj::SECONDS);
  // 0, at once, then after 0.1 s, 0.2 s, … up to 30 s.
  std::vector<int64_t> expected = {0,    0,     100,   300,   700,   1500,  3100,
                                   6300, 12700, 25500, 51100, 81100, 111100};
  CHECK(startsMs == expected);
  auto progress = cluster.progress("web");
  CHECK_THAT(progress.getProgress().getProblem().cStr(),
             Catch::Contains("task web.1: task: non-zero exit (1)"));
  crashes = false;
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.states("web") == "running");
  cluster.advance(61 * kj::SECONDS);
  size_t before = startsMs.size();
  node.report(onlyTask(node), TaskState::FAILED);
  cluster.settle();
  CHECK(startsMs.size() == before + 1);
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("restart: at most so many attempts", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  uint32_t starts = 0;
  node.onStart = [&](auto&, auto&) {
    ++starts;
    return TaskState::FAILED;
  };
  node.open();
  cluster.create(withPolicy([](auto policy) {
    policy.setMaxAttempts(7);
    policy.setDelayMs(0);
  }));
  cluster.advance(10 * kj::SECONDS);
  CHECK(starts == 8);
  CHECK(cluster.states("web") == "");
  auto progress = cluster.progress("web");
  CHECK(progress.getProgress().getVerdict() == schema::Verdict::STUCK);
}

TEST_CASE("restart: attempts are counted within the window", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  uint32_t starts = 0;
  node.onStart = [&](auto&, auto&) {
    ++starts;
    return TaskState::RUNNING;
  };
  node.open();
  cluster.create(withPolicy([](auto policy) {
    policy.setMaxAttempts(2);
    policy.setWindowMs(10'000);
    policy.setDelayMs(0);
  }));
  cluster.settle();
  for (int i = 0; i < 6; ++i) {
    cluster.advance(8 * kj::SECONDS);
    node.report(onlyTask(node), TaskState::FAILED);
    cluster.settle();
  }
  CHECK(starts == 7);  // never more than two within ten seconds
  node.report(onlyTask(node), TaskState::FAILED);
  cluster.settle();
  CHECK(starts == 7);
  CHECK(cluster.states("web") == "");
  cluster.advance(60 * kj::SECONDS);  // it stays given up when the window has moved on
  cluster.scale("web", 2);
  cluster.settle();
  CHECK(starts == 8);
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("restart: only the newest ended tasks of a slot are kept", "[manager]") {
  TestCluster cluster;
  cluster.start();
  auto& node = cluster.addNode();
  node.open();
  cluster.create(withPolicy([](auto policy) { policy.setDelayMs(0); }));
  cluster.settle();
  for (int i = 0; i < 12; ++i) {
    node.report(onlyTask(node), TaskState::FAILED);
    cluster.settle();
  }
  CHECK(cluster.states("web", "shutdown") == "failed failed failed failed");
  CHECK(node.tasks.size() == 5);  // docker's limit counts the one that runs
  CHECK(node.gone.size() == 8);
}

}  // namespace
}  // namespace orch::control::manager
