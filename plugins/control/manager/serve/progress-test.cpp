// What those who wait for a service are told.
#include "serve/progress.h"

#include <catch2/catch.hpp>

#include "decide/bench.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using schema::Verdict;

struct ProgressFixture : TestCluster {
  ProgressFixture() {
    start();
    node = &addNode();
    node->open();
  }
  ScriptedNode* node;
};

TEST_CASE("progress: three tasks in a row that end before they run are told as stuck",
          "[manager]") {
  for (auto end : {TaskState::REJECTED, TaskState::FAILED}) {
    ProgressFixture cluster;
    cluster.node->onStart = [&](auto&, auto&) { return end; };
    cluster.create({"web", 2});
    cluster.settle();
    CHECK(cluster.progress("web").getProgress().getVerdict() != Verdict::STUCK);  // two so far
    cluster.advance(200 * kj::MILLISECONDS);
    auto response = cluster.progress("web");
    CHECK(response.getProgress().getVerdict() == Verdict::STUCK);
    CHECK(response.getProgress().getProblem() == "task web.1: task: non-zero exit (1)");
    cluster.node->onStart = nullptr;  // it goes on trying
    cluster.advance(10 * kj::SECONDS);
    CHECK(cluster.progress("web").getProgress().getVerdict() == Verdict::CONVERGED);
  }
}

TEST_CASE("progress: a program that ends within five seconds three times in a row is told as stuck",
          "[manager]") {
  for (auto end : {TaskState::FAILED, TaskState::COMPLETE}) {
    for (bool stays : {false, true}) {
      ProgressFixture cluster;
      cluster.create({"web", 1});
      Verdict verdict = Verdict::WORKING;
      for (int i = 0; i < 4; ++i) {
        cluster.advance((stays ? 6 : 2) * kj::SECONDS);
        for (auto& entry : cluster.node->tasks) {
          if (entry.second.state != TaskState::RUNNING) continue;
          cluster.node->report(entry.first, end, "gone");
          break;
        }
        cluster.settle();
        verdict = cluster.progress("web").getProgress().getVerdict();
        CAPTURE(int(end), stays, i);
        CHECK((verdict == Verdict::STUCK) == (!stays && i >= 2));
      }
      if (stays) continue;
      CHECK(cluster.progress("web").getProgress().getProblem() ==
            "task web.1: gone, three times in a row within 5 s of its start; what it wrote: 'orch "
            "service logs web'");
    }
  }
}

TEST_CASE("progress: one word says where a service is", "[manager]") {
  ProgressFixture cluster;
  auto verdict = [&](const std::string& id) {
    return cluster.progress(id).getProgress().getVerdict();
  };
  cluster.node->onStart = [](auto&, auto&) { return TaskState::NEW; };  // says nothing yet
  auto id = cluster.create({"web", 1});
  cluster.settle();
  CHECK(verdict(id) == Verdict::WORKING);
  CHECK(cluster.progress(id).getProgress().getTrying());
  cluster.node->report(cluster.node->tasks.begin()->first, TaskState::RUNNING);
  cluster.settle();
  CHECK(verdict(id) == Verdict::CONVERGED);
  CHECK(cluster.progress(id).getProgress().getAllRun());
  CHECK_FALSE(cluster.progress(id).getProgress().getEnded());

  cluster.node->onStart = [](auto&, auto&) { return TaskState::REJECTED; };
  cluster.update({"web", 1, "web:2", {}});
  cluster.settle();
  CHECK(verdict(id) == Verdict::PAUSED);
  cluster.node->obeysStop = false;
  cluster.scale("web", 0);
  cluster.settle();
  CHECK_FALSE(cluster.progress(id).getProgress().getAllRun());
  cluster.create({"other", 1});
  cluster.settle();

  cluster.node->onStart = nullptr;
  auto two = cluster.create({"two", 1});
  cluster.settle();
  cluster.remove("two");
  cluster.settle();
  CHECK(verdict(two) == Verdict::STOPPING);
  for (auto& entry : cluster.node->tasks) {
    if (entry.second.serviceName == "two") {
      cluster.node->report(entry.first, TaskState::SHUTDOWN);
      break;
    }
  }
  cluster.settle();
  CHECK(verdict(two) == Verdict::GONE);
}

TEST_CASE("progress: a change counts the failures anew", "[manager]") {
  ProgressFixture cluster;
  cluster.node->onStart = [](auto&, auto&) { return TaskState::REJECTED; };
  cluster.create({"web", 1});
  cluster.advance(5 * kj::SECONDS);
  REQUIRE(cluster.progress("web").getProgress().getVerdict() == Verdict::STUCK);
  cluster.scale("web", 2);
  CHECK(cluster.progress("web").getProgress().getVerdict() != Verdict::STUCK);
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.progress("web").getProgress().getVerdict() == Verdict::STUCK);
}

TEST_CASE("progress: what failed before a change is not its problem", "[manager]") {
  ProgressFixture cluster;
  cluster.node->onStart = [](auto&, auto& task) {
    return task.image == "web:9" ? TaskState::REJECTED : TaskState::NEW;  // or takes its time
  };
  cluster.create({"web", 2, "web:9", {}});
  cluster.advance(5 * kj::SECONDS);
  REQUIRE(cluster.progress("web").getProgress().getProblem() ==
          "task web.1: task: non-zero exit (1)");
  cluster.update({"web", 2, "web:1", {}});
  cluster.settle();
  auto response = cluster.progress("web");
  CHECK(response.getProgress().getVerdict() == Verdict::WORKING);
  CHECK(response.getProgress().getProblem() == "");
}

TEST_CASE("progress: that the old task has the port while it stops is no problem", "[manager]") {
  ProgressFixture cluster;
  auto spec = [&](const char* image) {
    Spec spec{"web", 1, image, {}};
    spec.more = [](schema::ServiceSpec::Builder it) {
      auto port = it.getEndpoint().initPorts(1)[0];
      port.setTarget(80);
      port.setPublished(8080);
      port.setMode(schema::PortSpec::PublishMode::HOST);
    };
    return spec;
  };
  cluster.create(spec("web:1"));
  cluster.settle();
  cluster.node->obeysStop = false;
  cluster.update(spec("web:2"));
  cluster.settle();
  auto response = cluster.progress("web");
  CHECK(response.getProgress().getVerdict() == Verdict::WORKING);
  CHECK(response.getProgress().getProblem() == "");
  cluster.advance(2 * kj::MINUTES);  // it should have stopped by now
  CHECK(cluster.progress("web").getProgress().getProblem() ==
        "task web.1: no suitable node (host port in use on 1 node)");
}

TEST_CASE("progress: start-first that only its own old task keeps from a node is stuck at once",
          "[manager]") {
  ProgressFixture cluster;
  auto spec = [&](const char* image) {
    Spec spec{"web", 1, image, {}};
    spec.more = [](schema::ServiceSpec::Builder it) {
      it.initUpdate().setOrder(schema::UpdateConfig::Order::START_FIRST);
      it.getTask().initPlacement().setMaxReplicasPerNode(1);
    };
    return spec;
  };
  cluster.create(spec("web:1"));
  cluster.settle();
  cluster.update(spec("web:2"));
  cluster.settle();
  auto response = cluster.progress("web");
  CHECK(response.getProgress().getVerdict() == Verdict::STUCK);
  CHECK_THAT(response.getProgress().getProblem().cStr(),
             Catch::Contains("only the task that it replaces is in the way"));
  REQUIRE(cluster.tasks("web").getTasks().size() == 2);  // the old one runs on
  cluster.update(spec("web:1"));                         // and is what is wanted again
  cluster.advance(6 * kj::SECONDS);
  CHECK(cluster.states("web") == "running");
  CHECK(cluster.progress("web").getProgress().getVerdict() == Verdict::CONVERGED);
  CHECK(cluster.node->tasks.size() == 1);
}

TEST_CASE("progress: of a removed service the tasks are those that still stop", "[manager]") {
  ProgressFixture cluster;
  auto id = cluster.create({"web", 2});
  cluster.settle();
  // History, whose containers have ended long ago.
  auto first = cluster.node->tasks.begin()->first;
  cluster.node->report(first, TaskState::FAILED, "gone");
  cluster.settle();
  cluster.node->obeysStop = false;
  cluster.remove("web");
  cluster.settle();
  auto response = cluster.progress(id);
  CHECK(response.getProgress().getVerdict() == Verdict::STOPPING);
  CHECK(response.getProgress().getTasks().size() == 2);
}

// A service of so many that it is told of by counts.
struct Told : Bench {
  static constexpr uint32_t REPLICAS = 2000;
  Told() {
    node("one");
    node("two");
    service(REPLICAS);
    for (uint32_t i = 0; i < 3; ++i) reconcile();
    run("one");
  }
  TaskReader task(uint32_t number) {
    return TaskReader(*state.slots(serviceId)->find({number, {}})->tasks[0]);
  }
  void set(uint32_t number, TaskState now, const char* error) {
    change([&](View& view) {
      view.editStatus(task(number), [&](schema::TaskStatus::Builder status) {
        status.setState(now);
        status.setError(error);
      });
    });
  }
  // Slots that were read for it.
  uint64_t tell() {
    View view(state, nowNs, Seed{1, 2, 3, 4});
    describeProgress(view, serviceId, 0, message.initRoot<schema::ServiceProgress>());
    return view.slotsLooked();
  }
  schema::ServiceProgress::Reader told() { return message.getRoot<schema::ServiceProgress>(); }
  capnp::MallocMessageBuilder message;
};

TEST_CASE("progress: of many tasks those are read that are not as they should be", "[manager]") {
  Told many;
  CHECK(many.tell() == 0);
  CHECK(many.told().getVerdict() == Verdict::CONVERGED);
  CHECK(many.told().getRunning() == Told::REPLICAS);
  CHECK(many.told().getServing() == Told::REPLICAS);
  CHECK(many.told().getAllRun());
  SECTION("one waits for something") {
    many.change([&](View& view) { setDesired(view, many.task(5), TaskState::REMOVE); });
    many.change([&](View& view) {
      NewTask next;
      next.slot = {5, {}};
      next.desired = TaskState::RUNNING;
      auto id = createTask(view, KJ_ASSERT_NONNULL(view.service(many.serviceId)), next);
      view.editTask(KJ_ASSERT_NONNULL(view.task(id)),
                    [](schema::Task::Builder task) { task.setNodeId("two"); });
      view.editStatus(KJ_ASSERT_NONNULL(view.task(id)), [](schema::TaskStatus::Builder status) {
        status.setState(TaskState::PREPARING);
        status.setError("waits for the mount");
      });
    });
    CHECK(many.tell() <= 1);
    CHECK(many.told().getProblem() == "task web.5: waits for the mount");
    REQUIRE(many.told().getTasks().size() == 1);
    CHECK(many.told().getTasks()[0].getSlot() == 5);
  }
  SECTION("one has ended") {
    many.set(7, TaskState::FAILED, "task: non-zero exit (1)");
    CHECK(many.tell() == 1);
    REQUIRE(many.told().getTasks().size() == 1);
    CHECK(many.told().getTasks()[0].getSlot() == 7);
    CHECK(many.told().getProblem() == "task web.7: task: non-zero exit (1)");
  }
  if (many.told().getTasks().size() > 0) {
    CHECK(many.told().getVerdict() == Verdict::WORKING);
    CHECK(many.told().getRunning() == Told::REPLICAS - 1);
    CHECK(many.told().getTrying());
    CHECK_FALSE(many.told().getAllRun());
  }
  SECTION("its node is away") {
    many.heard("one", Presence::MISSED);
    many.tell();
    CHECK(many.told().getRunning() == 0);
    CHECK(many.told().getTasks().size() == 1000);
  }
  SECTION("some are to be removed") {
    for (uint32_t number : {3u, 4u}) {
      many.change([&](View& view) { setDesired(view, many.task(number), TaskState::REMOVE); });
    }
    many.change([&](View& view) {
      view.editService(many.serviceId, [](schema::Service::Builder service) {
        setReplicas(service.getSpec(), Told::REPLICAS - 2);
      });
    });
    CHECK(many.tell() == 0);
    CHECK(many.told().getRemaining() == 2);
    CHECK(many.told().getRunning() == Told::REPLICAS - 2);
    CHECK(many.told().getVerdict() == Verdict::WORKING);
  }
  SECTION("all are of an older spec") {
    many.change([&](View& view) {
      view.editService(many.serviceId, [](schema::Service::Builder service) {
        service.getSpec().getTask().getContainer().setImage("other");
        service.setSpecVersion(2);
      });
    });
    many.tell();
    CHECK(many.told().getRunning() == 0);
    CHECK(many.told().getServing() == Told::REPLICAS);
  }
}

}  // namespace
}  // namespace orch::control::manager
