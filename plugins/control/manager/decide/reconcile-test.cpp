// The decisions by themselves: a state is made, one function decides, its changes are looked at.
#include "decide/reconcile.h"

#include <catch2/catch.hpp>

#include "decide/node-health.h"
#include "decide/slot-rules.h"
#include "schedule/placement.h"
#include "serve/resolve.h"
#include "state/committer.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

constexpr int64_t NOW = 1'800'000'000'000'000'000;

// A state, and views of it whose changes become part of it.
struct Bench {
  State state;
  uint64_t revision = 0;
  int64_t nowNs = NOW;
  std::string serviceId;

  template <typename F>
  void change(F&& decide) {
    View view(state, nowNs, Seed{1, 2, 3, ++revision});
    decide(view);
    for (auto& entry : view.takeChanges()) state.apply(entry.first, kj::mv(entry.second), revision);
  }
  void node(const char* id) {
    change([&](View& view) {
      capnp::MallocMessageBuilder message;
      auto description = message.initRoot<schema::NodeDescription>();
      description.setHostname(id);
      description.setCpuNanos(4'000'000'000);
      description.setMemoryBytes(8ull << 30);
      registerNode(view, id, description, false);
    });
  }
  void service(uint32_t replicas) {
    change([&](View& view) {
      serviceId =
          view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
            auto spec = service.initSpec();
            spec.setName("web");
            spec.getMode().initReplicated().setReplicas(replicas);
            spec.initTask().initContainer().setImage("web");
            service.setSpecVersion(1);
          });
    });
  }
  void reconcile() {
    change([&](View& view) { reconcileService(view, serviceId); });
  }
  // All tasks that should run get to this node and run.
  void run(const char* node) {
    change([&](View& view) {
      for (auto& slot : view.slots(serviceId)) {
        for (auto& task : slot.tasks) {
          if (!isWanted(task) || task.getNodeId().size() > 0) continue;
          view.editTask(task, [&](schema::Task::Builder changed) {
            changed.setNodeId(node);
            changed.getStatus().setState(TaskState::RUNNING);
          });
        }
      }
    });
  }
  void availability(const char* node, schema::Node::Availability availability) {
    change([&](View& view) {
      view.edit<schema::Node>(Kind::NODE, node, [&](schema::Node::Builder changed) {
        changed.setAvailability(availability);
      });
    });
  }
  uint32_t count(TaskState desired) {
    uint32_t count = 0;
    for (auto& entry : state.all(Kind::TASK)) {
      count += entry.second.as<schema::Task>().getDesired() == desired;
    }
    return count;
  }
};

TEST_CASE("reconcile: drain moves all tasks, each when the old one has stopped; pause keeps them",
          "[manager]") {
  Bench bench;
  bench.node("one");
  bench.node("two");
  bench.service(3);
  bench.reconcile();
  bench.run("one");
  bench.availability("one", schema::Node::Availability::PAUSE);
  bench.reconcile();
  CHECK(bench.count(TaskState::RUNNING) == 3);
  CHECK(bench.state.all(Kind::TASK).size() == 3);
  bench.availability("one", schema::Node::Availability::DRAIN);
  bench.reconcile();
  CHECK(bench.count(TaskState::SHUTDOWN) == 3);
  CHECK(bench.count(TaskState::READY) == 3);
  bench.reconcile();  // nothing more until the old ones have stopped
  CHECK(bench.count(TaskState::READY) == 3);
}

TEST_CASE("reconcile: it is idempotent", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(5);
  bench.reconcile();
  bench.run("one");
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  CHECK(!reconcileService(view, bench.serviceId));
  CHECK(view.changes().empty());
}

TEST_CASE("reconcile: tasks without a service, and copies beyond the replicas, are removed",
          "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(2);
  bench.reconcile();
  bench.run("one");
  bench.change([&](View& view) {
    auto service = KJ_ASSERT_NONNULL(view.service(bench.serviceId));
    NewTask extra;
    extra.slot = 9;
    createTask(view, service, extra);
  });
  bench.reconcile();
  CHECK(bench.state.all(Kind::TASK).size() == 2);
  bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
  bench.reconcile();
  CHECK(bench.count(TaskState::REMOVE) == 2);
}

TEST_CASE("reconcile: a large service is made in several passes", "[manager]") {
  Bench bench;
  bench.service(4500);
  int passes = 0;
  for (bool more = true; more; ++passes) {
    bench.change([&](View& view) { more = reconcileService(view, bench.serviceId); });
  }
  CHECK(passes == 3);
  CHECK(bench.state.all(Kind::TASK).size() == 4500);
}

TEST_CASE("state: what is counted up is counted down", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(4);
  bench.reconcile();
  bench.run("one");
  CHECK(bench.state.usage().node("one").wanted == 4);
  CHECK(bench.state.usage().service(bench.serviceId).runningByNode.at("one") == 4);
  bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
  bench.change([&](View& view) {
    for (auto& entry : bench.state.all(Kind::TASK)) view.erase(Key{Kind::TASK, entry.first});
  });
  CHECK(bench.state.usage().allServices().empty());
  CHECK(bench.state.usage().node("one").wanted == 0);
  CHECK(bench.state.tasksOf("one").empty());
  CHECK(bench.state.slots(bench.serviceId) == nullptr);
  CHECK(bench.state.services().byName.empty());
}

TEST_CASE("batches: a service comes first, and nothing exceeds the limits", "[manager]") {
  Bench bench;
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  auto id = view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
    service.initSpec().setName("web");
    service.getSpec().getMode().initReplicated().setReplicas(20);
  });
  reconcileService(view, id);
  auto batches = cutBatches(view.takeChanges(), bench.state, {8, 1 << 20});
  REQUIRE(batches.size() == 3);
  CHECK(batches[0][0].first.kind == Kind::SERVICE);
  size_t ops = 0;
  for (auto& batch : batches) {
    CHECK(batch.size() <= 8);
    ops += batch.size();
  }
  CHECK(ops == 21);
}

TEST_CASE("constraints: what they mean, and what is none", "[manager]") {
  CHECK(parseConstraint("node.id") == nullptr);
  CHECK(parseConstraint("node.id!") == nullptr);
  CHECK(parseConstraint("==x") == nullptr);
  auto constraint = KJ_ASSERT_NONNULL(parseConstraint(" node.labels.zone != eu "));
  CHECK(constraint.key == "node.labels.zone");
  CHECK(!constraint.equal);
  CHECK(constraint.value == "eu");
  CHECK(KJ_ASSERT_NONNULL(parseConstraint("node.role=manager")).equal);
  CHECK(knownConstraintKey("engine.labels.x"));
  CHECK(!knownConstraintKey("node.labels."));
}

TEST_CASE("suggestions: the nearest name within two edits", "[manager]") {
  CHECK(suggestion("wbe", {"web", "db"}) == "; did you mean 'web'?");
  CHECK(suggestion("w", {"web", "db"}) == "");
  CHECK(suggestion("completely", {"web", "db"}) == "");
}

}  // namespace
}  // namespace orch::control::manager
