// Back to the spec before: by itself when an update fails, and because a user says so.
#include <catch2/catch.hpp>

#include <map>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using FailureAction = schema::UpdateConfig::FailureAction;
using schema::TaskState;
using Progress = schema::UpdateStatus::State;

struct Policies {
  uint32_t replicas = 4;
  std::function<void(schema::UpdateConfig::Builder)> update;
  std::function<void(schema::UpdateConfig::Builder)> rollback;
};

Spec rollbackSpec(const char* image, const Policies& policies) {
  Spec spec{"web", policies.replicas, image, {}};
  spec.more = [policies](schema::ServiceSpec::Builder spec) {
    auto update = spec.initUpdate();
    update.setFailureAction(FailureAction::ROLLBACK);
    update.setMonitorMs(1000);
    auto rollback = spec.initRollback();
    rollback.setParallelism(0);
    rollback.setMonitorMs(1000);
    if (policies.update) policies.update(update);
    if (policies.rollback) policies.rollback(rollback);
  };
  return spec;
}

struct RollbackCluster : TestCluster {
  RollbackCluster() {
    start();
    node = &addNode();
    node->open();
    node->onStart = [this](auto&, auto& seen) {
      return broken.count(seen.image) > 0 ? TaskState::FAILED : TaskState::RUNNING;
    };
  }
  schema::UpdateStatus::State state() { return service("web").getService().getUpdate().getState(); }
  std::string message() { return service("web").getService().getUpdate().getMessage().cStr(); }
  std::map<std::string, int> images() {
    std::map<std::string, int> counts;
    for (auto& entry : node->tasks) {
      if (entry.second.state == TaskState::RUNNING) ++counts[entry.second.image];
    }
    return counts;
  }
  std::string rollBack() {
    auto request = control.rollbackServiceRequest();
    request.setRequestId(kj::str("rollback-", ++rollbacks));
    request.setId("web");
    auto done = attemptNow([&] { request.send().wait(world.waitScope()); });
    return done.ok() ? "" : done.message().cStr();
  }
  ScriptedNode* node;
  std::set<std::string> broken;
  int rollbacks = 0;
};

using Images = std::map<std::string, int>;

TEST_CASE("rollback: an update that fails goes back by itself, and says why", "[manager]") {
  RollbackCluster cluster;
  cluster.create(rollbackSpec("web:1", {}));
  cluster.settle();
  cluster.broken = {"web:2"};
  uint32_t least = 4;
  cluster.update(rollbackSpec("web:2", {}));
  cluster.settle();
  least = std::min(least, cluster.node->running());
  cluster.advance(3 * kj::SECONDS);
  CHECK(least >= 3);
  CHECK(cluster.images() == Images{{"web:1", 4}});
  CHECK(cluster.state() == Progress::ROLLBACK_COMPLETED);
  CHECK(cluster.message().find("rolled back, since the update failed: task web.") == 0);
  auto service = cluster.service("web");
  CHECK(service.getService().getSpec().getTask().getContainer().getImage() == "web:1");
  CHECK(service.getService().getPreviousSpec().getTask().getContainer().getImage() == "web:2");
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("rollback: tasks that the update had not reached go on", "[manager]") {
  RollbackCluster cluster;
  cluster.create(rollbackSpec("web:1", {}));
  cluster.settle();
  std::set<std::string> before;
  for (auto& entry : cluster.node->tasks) before.insert(entry.first);
  cluster.broken = {"web:2"};
  cluster.update(rollbackSpec("web:2", {}));
  cluster.advance(3 * kj::SECONDS);
  uint32_t kept = 0;
  for (auto& entry : cluster.node->tasks) {
    kept += entry.second.state == TaskState::RUNNING && before.count(entry.first) > 0;
  }
  CHECK(kept == 3);
}

TEST_CASE("rollback: a rollback that fails is paused, as its own policy says", "[manager]") {
  RollbackCluster cluster;
  cluster.create(rollbackSpec("web:1", {}));
  cluster.settle();
  cluster.broken = {"web:1", "web:2"};
  cluster.update(rollbackSpec("web:2", {}));
  cluster.advance(5 * kj::SECONDS);
  CHECK(cluster.state() == Progress::ROLLBACK_PAUSED);
  CHECK(cluster.message().find("rollback paused: task web.") == 0);
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::PAUSED);
  CHECK(cluster.images() == Images{{"web:1", 3}});
}

TEST_CASE("rollback: at the pace of the policy that the user gave last", "[manager]") {
  Policies slow;
  slow.update = [](auto update) { update.setFailureAction(FailureAction::PAUSE); };
  slow.rollback = [](auto rollback) {
    rollback.setParallelism(1);
    rollback.setDelayMs(10'000);
  };
  RollbackCluster cluster;
  cluster.create(rollbackSpec("web:1", {}));
  cluster.settle();
  cluster.update(rollbackSpec("web:2", slow));
  cluster.advance(10 * kj::SECONDS);
  REQUIRE(cluster.images() == Images{{"web:2", 4}});
  CHECK(cluster.rollBack() == "");
  cluster.settle();
  CHECK(cluster.state() == Progress::ROLLBACK_STARTED);
  CHECK(cluster.images() == Images{{"web:1", 1}, {"web:2", 3}});
  cluster.advance(11 * kj::SECONDS);
  CHECK(cluster.images() == Images{{"web:1", 2}, {"web:2", 2}});
  cluster.advance(30 * kj::SECONDS);
  CHECK(cluster.state() == Progress::ROLLBACK_COMPLETED);
}

TEST_CASE("rollback: twice is there again, and a scale in between stays", "[manager]") {
  RollbackCluster cluster;
  cluster.create(rollbackSpec("web:1", {}));
  cluster.settle();
  CHECK(cluster.rollBack() == "service 'web' has no spec to go back to: it was not updated yet");
  cluster.update(rollbackSpec("web:2", {}));
  cluster.advance(5 * kj::SECONDS);
  cluster.scale("web", 6);
  cluster.settle();
  CHECK(cluster.rollBack() == "");
  cluster.advance(5 * kj::SECONDS);
  CHECK(cluster.images() == Images{{"web:1", 6}});
  CHECK(cluster.rollBack() == "");
  cluster.advance(5 * kj::SECONDS);
  CHECK(cluster.images() == Images{{"web:2", 6}});
}

TEST_CASE("rollback: one that is impossible pauses the update and says why", "[manager]") {
  auto published = [](uint16_t port) {
    return [port](schema::ServiceSpec::Builder spec) {
      auto ports = spec.initEndpoint().initPorts(1);
      ports[0].setTarget(80);
      ports[0].setPublished(port);
    };
  };
  auto both = [&](Spec spec, uint16_t port) {
    spec.more = [more = spec.more, ports = published(port)](auto builder) {
      more(builder);
      ports(builder);
    };
    return spec;
  };
  RollbackCluster cluster;
  cluster.create(both(rollbackSpec("web:1", {}), 8080));
  cluster.settle();
  cluster.broken = {"web:2"};
  cluster.node->obeysStop = false;  // so that another can take the port meanwhile
  cluster.update(both(rollbackSpec("web:2", {}), 8081));
  cluster.settle();
  Spec other{"other", 1, "other:1", published(8080)};
  cluster.create(other);
  cluster.node->obeysStop = true;
  cluster.advance(100 * kj::SECONDS);
  CHECK(cluster.state() == Progress::PAUSED);
  CHECK_THAT(cluster.message(), Catch::Contains("it cannot be rolled back: "));
  CHECK_THAT(cluster.message(), Catch::Contains("8080"));
}

}  // namespace
}  // namespace orch::control::manager
