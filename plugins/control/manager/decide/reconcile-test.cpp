// The decisions by themselves: a state is made, one function decides, its changes are looked at.
#include "decide/reconcile.h"

#include <capnp/schema.h>
#include <catch2/catch.hpp>

#include "decide/bench.h"
#include "decide/node-health.h"
#include "decide/slot-rules.h"
#include "schedule/placement.h"
#include "serve/progress.h"
#include "serve/resolve.h"
#include "state/batches.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

TEST_CASE("reconcile: drain moves tasks, each when the old one has stopped; pause keeps them",
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
  CHECK(bench.count(TaskState::SHUTDOWN) == 1);
  CHECK(bench.count(TaskState::READY) == 1);
  bench.reconcile();  // nothing more until the old one has stopped
  CHECK(bench.count(TaskState::READY) == 1);
  CHECK(bench.count(TaskState::SHUTDOWN) == 1);
}

// A service with one task, which is node one's.
void assignOnly(Bench& bench) {
  bench.node("one");
  bench.service(1);
  bench.reconcile();
  bench.change([&](View& view) {
    auto task = view.slots(bench.serviceId)[0].tasks[0];
    CHECK(task.getStatus().getState() == TaskState::PENDING);
    view.editTask(task, [](schema::Task::Builder changed) { changed.setNodeId("one"); });
    CHECK(view.task(task.id()) != nullptr);
    CHECK(KJ_ASSERT_NONNULL(view.task(task.id())).getStatus().getState() == TaskState::ASSIGNED);
  });
}

// The agent's word on the only task.
void report(Bench& bench, TaskState state, const char* node = "one", bool ran = false) {
  bench.change([&](View& view) {
    capnp::MallocMessageBuilder message;
    auto report = message.initRoot<schema::TaskReport>();
    report.setTaskId(bench.state.all(Kind::TASK).begin()->first.c_str());
    report.initStatus().setState(state);
    if (ran) report.getStatus().setRunningAtNs(1);  // by the node's clock
    mergeReport(view, node, report.asReader());
  });
}

TEST_CASE("tasks: one that has ended by the time of its first report ran, if its node says so",
          "[manager]") {
  for (bool ran : {false, true}) {
    Bench bench;
    assignOnly(bench);
    report(bench, TaskState::FAILED, "one", ran);
    auto& object = bench.state.all(Kind::TASK).begin()->second;
    CHECK(TaskReader(object).runningAtNs() == (ran ? bench.nowNs : 0));
    CHECK(TaskReader(object).endedAtNs() == bench.nowNs);
  }
}

TEST_CASE("tasks: what a node reports writes the status and nothing else", "[manager]") {
  Bench bench;
  assignOnly(bench);
  auto& object = bench.state.all(Kind::TASK).begin()->second;
  auto written = object.revision;
  for (auto state :
       {TaskState::ACCEPTED, TaskState::PREPARING, TaskState::RUNNING, TaskState::FAILED}) {
    ++bench.nowNs;
    report(bench, state);
    CHECK(object.revision == written);
    CHECK(object.statusRevision == bench.revision);
    CHECK(TaskReader(object).getStatus().getState() == state);
  }
  CHECK(TaskReader(object).runningAtNs() == bench.nowNs - 1);
  CHECK(TaskReader(object).endedAtNs() == bench.nowNs);
  CHECK(bench.state.usage().service(bench.serviceId).running == 0);
}

TEST_CASE("tasks: that one of several of a slot runs is a reason to look at its service",
          "[manager]") {
  for (bool alone : {true, false}) {
    Bench bench;
    bench.node("one");
    bench.service(1);
    bench.reconcile();
    bench.run("one");
    std::string newest = bench.state.all(Kind::TASK).begin()->first;
    // Two start-first updates, the first of which came to nothing.
    for (int i = 0; i < (alone ? 0 : 2); ++i) {
      ++bench.nowNs;
      bench.change([&](View& view) {
        auto slot = view.slots(bench.serviceId)[0];
        if (slot.tasks.size() > 1) setDesired(view, slot.tasks.back(), TaskState::SHUTDOWN);
        NewTask next;
        next.slot = slot.key;
        next.restartOf = slot.tasks.back().id();
        next.node = "one";
        newest = createTask(view, KJ_ASSERT_NONNULL(view.service(bench.serviceId)), next);
      });
    }
    bench.change([&](View& view) {
      capnp::MallocMessageBuilder message;
      auto report = message.initRoot<schema::TaskReport>();
      report.setTaskId(newest.c_str());
      report.initStatus().setState(TaskState::RUNNING);
      report.getStatus().setMessage("again");
      view.takeTouched();
      REQUIRE(mergeReport(view, "one", report.asReader()));
      CHECK(view.takeTouched().size() == (alone ? 0 : 1));
    });
  }
}

TEST_CASE("tasks: rules count from what happened, not from the last edit", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(1);
  bench.reconcile();
  bench.run("one");
  auto edited = [&](View& view) {
    auto task = view.slots(bench.serviceId)[0].tasks[0];
    view.editTask(task, [](schema::Task::Builder changed) { changed.initServiceLabels(1); });
    return KJ_ASSERT_NONNULL(view.task(task.id()));
  };
  SECTION("a hung container is given up a minute after it was asked to stop") {
    bench.change([&](View& view) {
      setDesired(view, view.slots(bench.serviceId)[0].tasks[0], TaskState::SHUTDOWN);
    });
    bench.nowNs += 69'000 * NS_PER_MS;  // ten seconds of grace
    bench.change([&](View& view) {
      edited(view);
      int64_t wakeAtNs = NEVER_NS;
      CHECK_FALSE(othersStopped(view, view.slots(bench.serviceId)[0], {}, wakeAtNs));
      CHECK(wakeAtNs == bench.nowNs + 1'000 * NS_PER_MS);
    });
    bench.nowNs += 1'000 * NS_PER_MS;
    bench.change([&](View& view) {
      auto task = edited(view);
      setDesired(view, task, TaskState::REMOVE);
      int64_t wakeAtNs = NEVER_NS;
      Slot slot;
      slot.tasks.push_back(KJ_ASSERT_NONNULL(view.task(task.id())));
      CHECK(othersStopped(view, slot, {}, wakeAtNs));
    });
  }
  SECTION("a restart window ends where the task ended") {
    bench.change([&](View& view) {
      view.editTask(view.slots(bench.serviceId)[0].tasks[0], [](schema::Task::Builder changed) {
        changed.setRestarts(1);
        auto policy = changed.getSpec().initRestart();
        policy.setMaxAttempts(1);
        policy.setWindowMs(60'000);
      });
    });
    bench.nowNs += 30'000 * NS_PER_MS;
    report(bench, TaskState::FAILED);
    bench.nowNs += 120'000 * NS_PER_MS;
    bench.change([&](View& view) {
      auto task = edited(view);
      CHECK_FALSE(mayRestart(view, view.slots(bench.serviceId)[0], task));
    });
  }
}

TEST_CASE("queue: what is due comes in the order in which it was asked for, once", "[manager]") {
  DirtyQueue queue;
  DirtyKey key;
  CHECK_FALSE(queue.take(100, key));
  CHECK(queue.nextNs() == NEVER_NS);
  queue.add({Concern::SERVICE, "later"}, 50);
  queue.add({Concern::SERVICE, "b"}, 10);
  queue.add({Concern::NODE, "b"}, 10);
  queue.add({Concern::SERVICE, "a"}, 10);
  queue.add({Concern::SERVICE, "b"}, 20);     // it is looked at before
  queue.add({Concern::SERVICE, "later"}, 5);  // earlier than it was asked for
  queue.add({Concern::SERVICE, "never"}, NEVER_NS);
  CHECK(queue.nextNs() == 5);
  std::string order;
  while (queue.take(15, key)) order += (key.concern == Concern::NODE ? "node " : "") + key.id + ";";
  CHECK(order == "later;b;node b;a;");
  CHECK(queue.nextNs() == NEVER_NS);  // nothing of what was overtaken is left
  queue.add({Concern::SERVICE, "b"}, 20);
  CHECK_FALSE(queue.take(19, key));
  CHECK(queue.take(20, key));
  CHECK_FALSE(queue.take(99, key));
}

TEST_CASE("reconcile: nodes are looked at once for all that a service loses", "[manager]") {
  Bench bench;
  bench.node("lost");
  bench.service(900);
  bench.reconcile();
  bench.run("lost");
  constexpr uint32_t NODES = 200;
  for (uint32_t i = 0; i < NODES; ++i) bench.node(("node" + std::to_string(i)).c_str());
  bench.state.setPresence("lost", {Presence::MISSED, 0, {}});
  bench.change([&](View& view) { reconcileNode(view, "lost", NEVER_NS / 2); });
  SECTION("where one could take them") {
    bench.change([&](View& view) {
      CHECK_FALSE(reconcileService(view, bench.serviceId));
      CHECK(view.looked() <= NODES + 1);
    });
    CHECK(bench.count(TaskState::SHUTDOWN) == 900);
  }
  SECTION("where none could") {
    for (uint32_t i = 0; i < NODES; ++i) {
      bench.availability(("node" + std::to_string(i)).c_str(), schema::Node::Availability::DRAIN);
    }
    bench.change([&](View& view) {
      CHECK_FALSE(reconcileService(view, bench.serviceId));
      CHECK(view.looked() <= NODES + 1);
    });
    CHECK(bench.count(TaskState::RUNNING) == 900);
    capnp::MallocMessageBuilder message;
    View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
    describeProgress(view, bench.serviceId, 0, message.initRoot<schema::ServiceProgress>());
    CHECK(view.looked() <= NODES + 1);
  }
}

TEST_CASE("reconcile: what one pass does to a service has a limit, whatever it is", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.node("two");
  bench.service(4500);
  auto passes = [&] {
    int count = 0;
    for (bool more = true; more; ++count) {
      bench.change([&](View& view) {
        more = reconcileService(view, bench.serviceId);
        CHECK(view.changes().size() <= 2 * MAX_CHANGED_PER_PASS + 1);
      });
    }
    return count;
  };
  passes();
  bench.run("one");
  SECTION("losses") {
    bench.state.setPresence("one", {Presence::MISSED, 0, {}});
    bench.change([&](View& view) { reconcileNode(view, "one", NEVER_NS / 2); });
    CHECK(passes() == 5);
    CHECK(bench.count(TaskState::SHUTDOWN) == 4500);
  }
  SECTION("an update of all at once") {
    bench.change([&](View& view) {
      view.editService(bench.serviceId, [](schema::Service::Builder service) {
        service.getSpec().getTask().getContainer().setImage("other");
        service.getSpec().initUpdate().setParallelism(0);
        service.setSpecVersion(2);
      });
    });
    CHECK(passes() >= 3);
    CHECK(bench.count(TaskState::SHUTDOWN) == 4500);
  }
  SECTION("fewer replicas") {
    bench.change([&](View& view) {
      view.editService(bench.serviceId,
                       [](schema::Service::Builder service) { setReplicas(service.getSpec(), 1); });
    });
    CHECK(passes() == 5);
    CHECK(bench.count(TaskState::REMOVE) == 4499);
  }
  SECTION("its removal") {
    bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
    CHECK(passes() == 5);
    CHECK(bench.count(TaskState::REMOVE) == 4500);
  }
}

TEST_CASE("nodes: since when one is down is counted from that, and its tasks end a day later",
          "[manager]") {
  constexpr int64_t DAY_NS = 86'400'000 * NS_PER_MS;
  Bench bench;
  bench.node("one");
  bench.service(1);
  bench.reconcile();
  bench.run("one");
  auto look = [&] {
    int64_t againNs = 0;
    bench.change([&](View& view) { againNs = reconcileNode(view, "one", DAY_NS); });
    return againNs;
  };
  CHECK(look() == NEVER_NS);
  bench.state.setPresence("one", {Presence::MISSED, 0, {}});
  int64_t downNs = bench.nowNs;
  CHECK(look() == downNs + DAY_NS);
  bench.nowNs += DAY_NS / 2;
  bench.availability("one", schema::Node::Availability::PAUSE);
  CHECK(look() == downNs + DAY_NS);
  CHECK(bench.state.stateOf(bench.state.find(Kind::NODE, "one")->as<schema::Node>()) ==
        schema::Node::State::DOWN);
  auto& task = bench.state.all(Kind::TASK).begin()->second;
  SECTION("unless it comes back") {
    bench.state.setPresence("one", {Presence::HEARD, 0, {}});
    CHECK(look() == NEVER_NS);
    bench.nowNs += DAY_NS;
    CHECK(look() == NEVER_NS);
    CHECK(TaskReader(task).getStatus().getState() == TaskState::RUNNING);
  }
  SECTION("also of a manager that heard nothing of it") {
    bench.state.setPresence("one", {Presence::SILENT, 0, {}});
    bench.nowNs = downNs + DAY_NS;
    CHECK(look() == NEVER_NS);
    CHECK(TaskReader(task).getStatus().getState() == TaskState::ORPHANED);
    CHECK(TaskReader(task).endedAtNs() == bench.nowNs);
  }
}

TEST_CASE("modes: a service whose mode this version does not know is left alone", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(2);
  bench.reconcile();
  bench.run("one");
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [](schema::Service::Builder service) {
      auto mode = capnp::Schema::from<schema::ServiceSpec::Mode>().getProto().getStruct();
      auto data = capnp::toAny(service.getSpec()).getDataSection();
      data[mode.getDiscriminantOffset() * 2] = 99;
    });
  });
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  CHECK(!reconcileService(view, bench.serviceId));
  CHECK(view.changes().empty());
  CHECK(bench.state.services().replicasByNetwork.empty());
  capnp::MallocMessageBuilder message;
  auto progress = message.initRoot<schema::ServiceProgress>();
  describeProgress(view, bench.serviceId, 0, progress);
  CHECK(progress.getDesired() == 0);
  CHECK(progress.getVerdict() == schema::Verdict::STUCK);
}

TEST_CASE("slots: a slot is a number or a node", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(1);
  bench.reconcile();
  bench.change([&](View& view) {
    NewTask task;
    task.slot = {0, "one"};
    createTask(view, KJ_ASSERT_NONNULL(view.service(bench.serviceId)), task);
  });
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  auto slots = view.slots(bench.serviceId);
  REQUIRE(slots.size() == 2);
  CHECK(nameOf(slots[0].key) == "one");
  CHECK(slots[0].tasks[0].getStatus().getState() == TaskState::PENDING);
  CHECK(nameOf(slots[1].key) == "1");
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
    extra.slot = {9, {}};
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
  CHECK(passes == 5);
  CHECK(bench.state.all(Kind::TASK).size() == 4500);
}

TEST_CASE("reconcile: a large service is looked at in steps that come to the same", "[manager]") {
  constexpr uint32_t REPLICAS = 3 * SlotsReader::TASKS_AT_ONCE;
  Bench bench;
  bench.service(REPLICAS);
  for (bool more = true; more;) {
    bench.change([&](View& view) { more = reconcileService(view, bench.serviceId); });
  }
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [](schema::Service::Builder service) {
      setReplicas(service.getSpec(), REPLICAS + 1);
    });
    ServicePass pass(view, bench.serviceId);
    int steps = 1;
    while (pass.step()) ++steps;
    // At least three looks at a third of its tasks, another three since one was made, and the
    // rules.
    CHECK(steps >= 3 + 3 + 4 + 1);
    CHECK_FALSE(pass.isUnfinished());
    CHECK(view.changes().size() == 2);

    auto slots = view.slots(bench.serviceId);
    REQUIRE(slots.size() == REPLICAS + 1);
    CHECK(slots.front().key.number == 1);
    CHECK(slots.back().key.number == REPLICAS + 1);
    setDesired(view, slots[4].tasks[0], TaskState::REMOVE);
    CHECK(view.slots(bench.serviceId).size() == REPLICAS);
    auto leaving = view.slots(bench.serviceId).leaving();
    REQUIRE(leaving.size() == 1);
    CHECK(leaving[0].slot().number == 5);
    view.erase(Key{Kind::TASK, slots[6].tasks[0].id()});
    CHECK(view.slots(bench.serviceId).size() == REPLICAS - 1);
  });
}

TEST_CASE("state: what is counted up is counted down", "[manager]") {
  Bench bench;
  bench.node("one");
  bench.service(4);
  bench.reconcile();
  bench.run("one");
  CHECK(bench.state.usageOf("one").wanted == 4);
  CHECK(bench.state.usage()
            .service(bench.serviceId)
            .on(bench.state.nodeNumbers().of("one"))
            .running == 4);
  bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
  bench.change([&](View& view) {
    for (auto& entry : bench.state.all(Kind::TASK)) view.erase(Key{Kind::TASK, entry.first});
  });
  CHECK(bench.state.usage().allServices().empty());
  CHECK(bench.state.usageOf("one").wanted == 0);
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

TEST_CASE("constraints: which keys there are", "[manager]") {
  CHECK(knownNodeKey("engine.labels.x"));
  CHECK(knownNodeKey("node.memory"));
  CHECK(!knownNodeKey("node.labels."));
  CHECK(!knownNodeKey("node.name"));
}

}  // namespace
}  // namespace orch::control::manager
