#include <catch2/catch.hpp>

#include <set>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using Action = schema::UpdateConfig::FailureAction;
using Order = schema::UpdateConfig::Order;
using schema::TaskState;
using UpdateState = schema::UpdateStatus::State;

Spec withUpdate(uint32_t replicas, const char* image,
                std::function<void(schema::UpdateConfig::Builder)> more = {}) {
  Spec spec{"web", replicas, image, {}};
  spec.more = [more](schema::ServiceSpec::Builder spec) {
    auto update = spec.initUpdate();
    if (more) more(update);
  };
  return spec;
}

struct UpdateFixture : TestCluster {
  UpdateFixture() {
    start();
    node = &addNode();
    node->open();
  }
  UpdateState state() { return service("web").getService().getUpdate().getState(); }
  uint32_t onImage(const char* image) {
    uint32_t count = 0;
    for (auto& entry : node->tasks)
      count += entry.second.image == image && entry.second.state == TaskState::RUNNING;
    return count;
  }
  ScriptedNode* node;
};

TEST_CASE("update: replaces all tasks, then waits for the monitor time", "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(4, "web:1"));
  cluster.settle();
  CHECK(cluster.update(withUpdate(4, "web:2")) == "");
  cluster.settle();
  CHECK(cluster.onImage("web:2") == 4);
  CHECK(cluster.onImage("web:1") == 0);
  CHECK(cluster.progress("web").getProgress().getVerdict() != schema::Verdict::CONVERGED);
  CHECK(cluster.state() == UpdateState::UPDATING);
  cluster.advance(5100 * kj::MILLISECONDS);
  CHECK(cluster.state() == UpdateState::COMPLETED);
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
  auto service = cluster.service("web");
  CHECK(service.getService().getUpdate().getCompletedAtNs() > 0);
  CHECK(service.getService().getUpdate().getMessage() == "update completed");
  CHECK(service.getService().getPreviousSpec().getTask().getContainer().getImage() == "web:1");
  CHECK(service.getService().getSpecVersion() == 2);
}

TEST_CASE("update: so many at a time, with the delay between", "[manager]") {
  UpdateFixture cluster;
  auto pace = [](auto update) {
    update.setParallelism(2);
    update.setDelayMs(10'000);
  };
  cluster.create(withUpdate(5, "web:1", pace));
  cluster.settle();
  cluster.update(withUpdate(5, "web:2", pace));
  cluster.settle();
  CHECK(cluster.onImage("web:2") == 2);
  cluster.advance(9 * kj::SECONDS);
  CHECK(cluster.onImage("web:2") == 2);
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.onImage("web:2") == 4);
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.onImage("web:2") == 5);
}

TEST_CASE("update: stop-first prepares the new task while the old one stops", "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(1, "web:1"));
  cluster.settle();
  cluster.node->obeysStop = false;
  auto old = cluster.node->tasks.begin()->first;
  cluster.update(withUpdate(1, "web:2"));
  cluster.settle();
  CHECK(cluster.states("web") == "ready");
  CHECK(cluster.onImage("web:1") == 1);
  cluster.node->report(old, TaskState::SHUTDOWN);
  cluster.settle();
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("update: an old task that does not stop holds things up for its grace and a minute",
          "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(1, "web:1"));
  cluster.settle();
  cluster.node->obeysStop = false;
  cluster.update(withUpdate(1, "web:2"));
  cluster.advance(69 * kj::SECONDS);
  CHECK(cluster.states("web") == "ready");
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.states("web") == "running");
}

TEST_CASE("update: start-first keeps the capacity and never exceeds it by more than a batch",
          "[manager]") {
  UpdateFixture cluster;
  auto order = [](auto update) {
    update.setOrder(Order::START_FIRST);
    update.setParallelism(2);
  };
  cluster.create(withUpdate(6, "web:1", order));
  cluster.settle();
  uint32_t least = 6;
  cluster.node->mostRunning = 0;
  cluster.node->onStart = [&](auto&, auto&) {
    least = std::min(least, cluster.node->running());
    return TaskState::RUNNING;
  };
  cluster.update(withUpdate(6, "web:2", order));
  cluster.settle();
  CHECK(cluster.onImage("web:2") == 6);
  CHECK(cluster.onImage("web:1") == 0);
  CHECK(least >= 6);
  CHECK(cluster.node->mostRunning <= 8);
}

TEST_CASE("update: where only one task can have what it needs, start-first is stop-first",
          "[manager]") {
  for (bool port : {true, false}) {
    UpdateFixture cluster;
    auto spec = [port](const char* image) {
      Spec spec{"web", 1, image, {}};
      spec.more = [port](schema::ServiceSpec::Builder it) {
        it.initUpdate().setOrder(Order::START_FIRST);
        if (port) {
          auto published = it.getEndpoint().initPorts(1)[0];
          published.setTarget(80);
          published.setPublished(8080);
          published.setMode(schema::PortSpec::PublishMode::HOST);
        } else {
          auto mount = it.getTask().getContainer().initMounts(1)[0];
          mount.setType(schema::Mount::Type::VOLUME);
          mount.setSource("data");
          mount.setTarget("/data");
        }
      };
      return spec;
    };
    cluster.create(spec("web:1"));
    cluster.settle();
    cluster.node->mostRunning = 0;
    auto request = cluster.control.updateServiceRequest();
    request.setRequestId("by hand");
    request.setId("web");
    request.initSpec().setName("web");
    request.getSpec().initTask().initContainer().setImage("web:2");
    request.getSpec().getMode().initReplicated();
    spec("web:2").more(request.getSpec());
    auto answer = request.send().wait(cluster.world.waitScope());
    REQUIRE(answer.getWarnings().size() == 1);
    CHECK(answer.getWarnings()[0] ==
          kj::str("only one task can have ", port ? "port 8080 of its node" : "volume 'data'",
                  ": an update stops the old one first, in spite of --update-order start-first"));
    cluster.settle();
    CHECK(cluster.onImage("web:2") == 1);
    CHECK(cluster.node->mostRunning == 1);
  }
}

TEST_CASE("update: start-first begins the next batch when the old tasks have really stopped",
          "[manager]") {
  UpdateFixture cluster;
  auto order = [](auto update) { update.setOrder(Order::START_FIRST); };
  cluster.create(withUpdate(3, "web:1", order));
  cluster.settle();
  cluster.node->obeysStop = false;
  cluster.update(withUpdate(3, "web:2", order));
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.onImage("web:2") == 1);
  CHECK(cluster.onImage("web:1") == 3);
}

TEST_CASE("update: pauses at a failure and stays paused until the next update", "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(4, "web:1"));
  cluster.settle();
  cluster.node->onStart = [](auto&, auto& task) {
    return task.image == "web:bad" ? TaskState::FAILED : TaskState::RUNNING;
  };
  cluster.update(withUpdate(4, "web:bad"));
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::PAUSED);
  CHECK(cluster.onImage("web:1") == 3);
  auto progress = cluster.progress("web");
  CHECK(progress.getProgress().getVerdict() == schema::Verdict::PAUSED);
  CHECK_THAT(progress.getProgress().getUpdate().getMessage().cStr(),
             Catch::Contains("update paused: task web.1 ended: task: non-zero exit (1)"));
  cluster.update(withUpdate(4, "web:2"));
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::COMPLETED);
  CHECK(cluster.onImage("web:2") == 4);
}

TEST_CASE("update: a task that fails within the monitor time counts, a later one does not",
          "[manager]") {
  for (bool within : {true, false}) {
    UpdateFixture cluster;
    auto pace = [](auto update) { update.setDelayMs(20'000); };
    cluster.create(withUpdate(3, "web:1", pace));
    cluster.settle();
    cluster.update(withUpdate(3, "web:2", pace));
    cluster.advance((within ? 4 : 6) * kj::SECONDS);
    for (auto& entry : cluster.node->tasks) {
      if (entry.second.image != "web:2") continue;
      cluster.node->report(entry.first, TaskState::FAILED, "gone");
      break;
    }
    cluster.settle();
    CHECK(cluster.state() == (within ? UpdateState::PAUSED : UpdateState::UPDATING));
  }
}

TEST_CASE("update: what was lost with its node is no failure of the new version", "[manager]") {
  UpdateFixture cluster;
  auto pace = [](auto update) { update.setDelayMs(20'000); };
  cluster.create(withUpdate(3, "web:1", pace));
  cluster.settle();
  cluster.update(withUpdate(3, "web:2", pace));
  cluster.advance(4 * kj::SECONDS);
  REQUIRE(cluster.onImage("web:2") == 1);
  cluster.node->restarted = true;
  for (auto& entry : std::map(cluster.node->tasks)) {
    if (entry.second.state == TaskState::RUNNING) {
      cluster.node->report(entry.first, TaskState::FAILED, "lost");
    }
  }
  cluster.settle();
  CHECK(cluster.state() == UpdateState::UPDATING);
  cluster.node->restarted = false;
  cluster.advance(120 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::COMPLETED);
  CHECK(cluster.onImage("web:2") == 3);
}

TEST_CASE("update: continues over failures if it should, or below the ratio", "[manager]") {
  for (bool ratio : {true, false}) {
    UpdateFixture cluster;
    auto policy = [&](auto update) {
      if (ratio) {
        update.setMaxFailureRatio(0.5);
      } else {
        update.setFailureAction(Action::CONTINUE);
      }
    };
    cluster.create(withUpdate(4, "web:1", policy));
    cluster.settle();
    bool failed = false;
    cluster.node->onStart = [&](auto&, auto&) {
      return std::exchange(failed, true) ? TaskState::RUNNING : TaskState::FAILED;
    };
    cluster.update(withUpdate(4, "web:2", policy));
    cluster.advance(20 * kj::SECONDS);
    CHECK(cluster.onImage("web:2") == 4);
    CHECK(cluster.state() == UpdateState::COMPLETED);
  }
}

TEST_CASE("update: a task that does not run by the deadline is a failure", "[manager]") {
  UpdateFixture cluster;
  auto policy = [](auto update) { update.setProgressDeadlineMs(30'000); };
  auto hungry = withUpdate(2, "web:2", policy);
  hungry.more = [more = hungry.more](schema::ServiceSpec::Builder spec) {
    more(spec);
    spec.getTask().initResources().setReserveMemoryBytes(1ull << 40);
  };
  cluster.create(withUpdate(2, "web:1", policy));
  cluster.settle();
  cluster.update(hungry);
  cluster.advance(29 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::UPDATING);
  cluster.advance(2 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::PAUSED);
  CHECK(cluster.onImage("web:1") == 1);
  CHECK_THAT(
      cluster.service("web").getService().getUpdate().getMessage().cStr(),
      Catch::Contains("does not run after 30 s: no suitable node (insufficient memory on 1 node)"));
}

TEST_CASE("update: a new spec during an update replaces that one", "[manager]") {
  UpdateFixture cluster;
  auto pace = [](auto update) { update.setDelayMs(10'000); };
  cluster.create(withUpdate(3, "web:1", pace));
  cluster.settle();
  cluster.update(withUpdate(3, "web:2", pace));
  cluster.settle();
  CHECK(cluster.onImage("web:2") == 1);
  cluster.update(withUpdate(3, "web:3", pace));
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.onImage("web:3") == 3);
  CHECK(cluster.state() == UpdateState::COMPLETED);
}

TEST_CASE("update: a change of constraints, replicas or labels restarts nothing that fits",
          "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(2, "web:1"));
  cluster.settle();
  auto changed = withUpdate(3, "web:1");
  changed.more = [](schema::ServiceSpec::Builder spec) {
    spec.initUpdate().setParallelism(7);
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.hostname==host-node1");
    spec.initLabels(1)[0].setKey("a");
  };
  cluster.update(changed);
  cluster.settle();
  CHECK(cluster.states("web", "") == "running running running");
  CHECK(cluster.state() == UpdateState::NONE);
  CHECK(cluster.service("web").getService().getSpecVersion() == 1);
  changed.more = [](schema::ServiceSpec::Builder spec) {
    spec.initUpdate().setParallelism(0);
    spec.getTask().initPlacement().initConstraints(1).set(0, "node.hostname!=host-node1");
  };
  cluster.update(changed);
  cluster.settle();
  CHECK(cluster.states("web") == "pending pending pending");
}

TEST_CASE("update: taking a failed one back leaves alone what it had not reached", "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(4, "web:1"));
  cluster.settle();
  cluster.node->onStart = [](auto&, auto& task) {
    return task.image == "web:bad" ? TaskState::FAILED : TaskState::RUNNING;
  };
  auto ids = [&] {
    std::set<std::string> result;
    auto response = cluster.tasks("web");
    for (auto task : response.getTasks()) {
      if (task.getSlot() > 1) result.insert(task.getMeta().getId().cStr());
    }
    return result;
  };
  auto untouched = ids();
  cluster.update(withUpdate(4, "web:bad"));
  cluster.advance(10 * kj::SECONDS);
  REQUIRE(cluster.state() == UpdateState::PAUSED);
  cluster.update(withUpdate(4, "web:1"));
  cluster.advance(40 * kj::SECONDS);
  CHECK(cluster.state() == UpdateState::COMPLETED);
  CHECK(cluster.onImage("web:1") == 4);
  CHECK(ids() == untouched);
  CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("update: one that is resumed while its tasks go on failing pauses again", "[manager]") {
  UpdateFixture cluster;
  auto bad = withUpdate(1, "web:bad");
  cluster.create(withUpdate(1, "web:1"));
  cluster.settle();
  cluster.node->onStart = [](auto&, auto& task) {
    return task.image == "web:bad" ? TaskState::FAILED : TaskState::RUNNING;
  };
  cluster.update(bad);
  cluster.advance(10 * kj::SECONDS);
  for (int again = 0; again < 2; ++again) {
    REQUIRE(cluster.state() == UpdateState::PAUSED);
    cluster.update(bad);
    cluster.settle();
    CHECK(cluster.state() == UpdateState::UPDATING);
    cluster.advance(60 * kj::SECONDS);
  }
  CHECK(cluster.state() == UpdateState::PAUSED);
}

TEST_CASE("update: what says the same in another way changes nothing", "[manager]") {
  UpdateFixture cluster;
  cluster.create(withUpdate(2, "web:1"));
  cluster.settle();
  auto version = cluster.service("web").getService().getMeta().getVersion();
  auto same = withUpdate(2, "web:1");
  same.more = [](schema::ServiceSpec::Builder spec) {
    spec.initUpdate();
    spec.initLabels(0);
    spec.initEndpoint().initPorts(0);
    auto container = spec.getTask().getContainer();
    container.initEnv(0);
    container.initHosts(0);
    container.setImageDigest("");
    spec.getTask().initResources();
    spec.getTask().initPlacement().initConstraints(0);
  };
  CHECK(cluster.update(same) == "");
  cluster.settle();
  CHECK(cluster.service("web").getService().getMeta().getVersion() == version);
  CHECK(cluster.state() == UpdateState::NONE);
}

TEST_CASE("update: tasks that complete by design are no failures", "[manager]") {
  for (auto order : {Order::STOP_FIRST, Order::START_FIRST}) {
    UpdateFixture cluster;
    cluster.node->onStart = [](auto&, auto&) { return TaskState::COMPLETE; };
    auto job = [&](const char* image) {
      auto spec = withUpdate(2, image, [&](auto update) { update.setOrder(order); });
      spec.more = [more = spec.more](schema::ServiceSpec::Builder spec) {
        more(spec);
        spec.getTask().initRestart().setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
      };
      return spec;
    };
    cluster.create(job("job:1"));
    cluster.settle();
    CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
    CHECK(cluster.progress("web").getProgress().getUpdated() == 2);
    cluster.update(job("job:2"));
    cluster.advance(6 * kj::SECONDS);
    CHECK(cluster.state() == UpdateState::COMPLETED);
    CHECK(cluster.progress("web").getProgress().getVerdict() == schema::Verdict::CONVERGED);
  }
}

TEST_CASE("update: goes on after a restart of the manager", "[manager]") {
  UpdateFixture cluster;
  auto pace = [](auto update) { update.setDelayMs(10'000); };
  cluster.create(withUpdate(3, "web:1", pace));
  cluster.settle();
  cluster.update(withUpdate(3, "web:2", pace));
  cluster.settle();
  auto tasks = cluster.node->tasks;
  cluster.stop();
  cluster.start();
  cluster.node = &cluster.addNode();
  cluster.node->tasks = tasks;
  cluster.node->open();
  cluster.advance(40 * kj::SECONDS);
  CHECK(cluster.onImage("web:2") == 3);
  CHECK(cluster.state() == UpdateState::COMPLETED);
}

}  // namespace
}  // namespace orch::control::manager
