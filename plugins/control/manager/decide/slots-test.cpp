// What a pass reads of a service: what there may be something to do about, and no more.
#include <random>

#include "decide/bench.h"

namespace orch::control::manager {
namespace {

using schema::Node;
using schema::TaskState;

constexpr uint32_t MANY = 3'000;

// A service whose tasks run, a tenth of them on each node.
struct ManySlots : Bench {
  ManySlots() {
    for (auto id : NODES) node(id);
    service(MANY);
    for (uint32_t made = 0; made < MANY; made = state.all(Kind::TASK).size()) reconcile();
    change([&](View& view) {
      uint32_t i = 0;
      for (auto& slot : view.slots(serviceId)) place(view, slot.tasks[0], NODES[i++ % 10]);
    });
  }
  void place(View& view, const TaskReader& task, const char* node) {
    view.editTask(task, [&](schema::Task::Builder changed) { changed.setNodeId(node); });
    view.editStatus(task, [&](schema::TaskStatus::Builder status) {
      status.setState(TaskState::RUNNING);
      status.setRunningAtNs(nowNs);
    });
  }
  // Slots that a pass of the service reads after this.
  template <typename F>
  uint64_t readAfter(F&& before) {
    change(before);
    View view(state, nowNs, Seed{1, 2, 3, 4});
    reconcileService(view, serviceId);
    changes = view.changes().size();
    return view.slotsLooked();
  }
  static constexpr const char* NODES[] = {"node0", "node1", "node2", "node3", "node4",
                                          "node5", "node6", "node7", "node8", "node9"};
  size_t changes = 0;
};

TEST_CASE("slots: a pass reads no more of a service than has changed", "[manager]") {
  ManySlots many;
  auto task = [&](uint32_t number) {
    return TaskReader(*many.state.slots(many.serviceId)->find({number, {}})->tasks[0]);
  };
  CHECK(many.readAfter([](View&) {}) == 0);
  SECTION("of a task that ended") {
    auto end = [&](View& view) {
      view.editStatus(task(7), [&](schema::TaskStatus::Builder status) {
        status.setState(TaskState::FAILED);
        status.setEndedAtNs(many.nowNs);
      });
    };
    // Its slot, and again what became of it.
    CHECK(many.readAfter(end) <= 3);
    CHECK(many.changes == 2);
  }
  SECTION("of a replica more") {
    auto scale = [&](View& view) {
      view.editService(many.serviceId, [](schema::Service::Builder service) {
        setReplicas(service.getSpec(), MANY + 1);
      });
    };
    CHECK(many.readAfter(scale) <= 3);
    CHECK(many.changes == 1);
  }
  SECTION("of a node that is drained") {
    auto drain = [&](View& view) {
      view.edit<Node>(Kind::NODE, "node3",
                      [](Node::Builder node) { node.setAvailability(Node::Availability::DRAIN); });
    };
    CHECK(many.readAfter(drain) <= 2 * MANY / 10);
    CHECK(many.changes == 2);
  }
  SECTION("of tasks that are yet to stop") {
    many.change([&](View& view) {
      for (uint32_t number = 1; number <= MANY / 2; ++number) {
        setDesired(view, task(number), TaskState::REMOVE);
      }
      view.editService(many.serviceId, [](schema::Service::Builder service) {
        setReplicas(service.getSpec(), MANY / 2);
      });
    });
    auto end = [&](View& view) {
      view.editStatus(task(7), [](schema::TaskStatus::Builder status) {
        status.setState(TaskState::SHUTDOWN);
      });
    };
    CHECK(many.readAfter(end) == 1);
    CHECK(many.changes == 1);
  }
  SECTION("of a service that is gone") {
    many.change([&](View& view) { view.erase(Key{Kind::SERVICE, many.serviceId}); });
    for (int i = 0; i < 3; ++i) many.reconcile();
    CHECK(many.count(TaskState::REMOVE) == MANY);
    auto end = [&](View& view) {
      view.editStatus(task(7), [](schema::TaskStatus::Builder status) {
        status.setState(TaskState::SHUTDOWN);
      });
    };
    CHECK(many.readAfter(end) <= 2);
    CHECK(many.changes == 1);
  }
}

TEST_CASE("slots: a pass of a job reads none that has completed", "[manager]") {
  constexpr uint32_t COMPLETIONS = 300;
  Bench bench;
  bench.node("node1");
  bench.service(1);
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [](schema::Service::Builder service) {
      auto job = service.getSpec().getMode().initReplicatedJob();
      job.setCompletions(COMPLETIONS);
      job.setMaxConcurrent(10);
      auto restart = service.getSpec().getTask().initRestart();
      restart.setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
    });
  });
  bench.reconcile();
  uint64_t read = 0;
  uint32_t rounds = 0;
  auto job = [&] {
    View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
    return KJ_ASSERT_NONNULL(view.service(bench.serviceId)).getJob().getEndedAtNs();
  };
  for (; job() == 0; ++rounds) {
    REQUIRE(rounds <= COMPLETIONS / 10);
    bench.run("node1");
    bench.change([&](View& view) {
      for (auto& entry : bench.state.all(Kind::TASK)) {
        TaskReader task(entry.second);
        if (isTerminal(task)) continue;
        view.editStatus(task, [&](schema::TaskStatus::Builder status) {
          status.setState(TaskState::COMPLETE);
          status.setEndedAtNs(bench.nowNs);
        });
      }
      reconcileService(view, bench.serviceId);
      read = std::max(read, view.slotsLooked());
    });
    bench.reconcile();
  }
  CHECK(rounds == COMPLETIONS / 10);
  CHECK(read <= 200);
  CHECK(bench.count(TaskState::SHUTDOWN) == COMPLETIONS);
  // Another run begins at the first slot again.
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [](schema::Service::Builder service) {
      service.getJob().setIteration(2);
      service.getJob().setEndedAtNs(0);
    });
  });
  bench.reconcile();
  CHECK(bench.count(TaskState::RUNNING) == 10);
  CHECK(bench.state.slots(bench.serviceId)->find({1, {}})->tasks.size() == 2);
  // What is gone takes all with it.
  bench.change([&](View& view) { view.erase(Key{Kind::SERVICE, bench.serviceId}); });
  for (int i = 0; i < 8; ++i) bench.reconcile();
  CHECK(bench.count(TaskState::SHUTDOWN) == 0);
}

TEST_CASE("slots: no step of a pass is long, however many slots there are", "[manager]") {
  ManySlots many;
  auto steps = [&](auto&& change) {
    many.change([&](View& view) { view.editService(many.serviceId, change); });
    View view(many.state, many.nowNs, Seed{1, 2, 3, 4});
    ServicePass pass(view, many.serviceId);
    uint64_t looked = 0;
    size_t changed = 0;
    while (pass.step()) {
      CHECK(view.slotsLooked() - looked <= SlotsReader::TASKS_AT_ONCE);
      CHECK(view.changes().size() - changed <= 64 + 1);
      looked = view.slotsLooked();
      changed = view.changes().size();
    }
    CHECK(pass.isUnfinished());
    return changed;
  };
  SECTION("an update of all at once") {
    auto changed = steps([](schema::Service::Builder service) {
      service.getSpec().getTask().getContainer().setImage("other");
      service.getSpec().initUpdate().setParallelism(0);
      service.setSpecVersion(2);
    });
    CHECK(changed > MAX_CHANGED_PER_PASS);
  }
  SECTION("fewer replicas") {
    auto changed =
        steps([](schema::Service::Builder service) { setReplicas(service.getSpec(), 1); });
    CHECK(changed == MAX_CHANGED_PER_PASS);
  }
  SECTION("more replicas") {
    auto changed =
        steps([](schema::Service::Builder service) { setReplicas(service.getSpec(), 2 * MANY); });
    CHECK(changed == MAX_CHANGED_PER_PASS);
  }
}

TEST_CASE("slots: the lowest numbers that are free are found past those that are not",
          "[manager]") {
  NumberSet numbers;
  CHECK(numbers.firstWithout(1) == 1);
  for (uint32_t number = 1; number <= 200; ++number) numbers.insert(number);
  CHECK(numbers.firstWithout(1) == 201);
  CHECK(numbers.firstWithout(500) == 500);
  numbers.erase(64);
  numbers.erase(130);
  CHECK(numbers.firstWithout(1) == 64);
  CHECK(numbers.firstWithout(64) == 64);
  CHECK(numbers.firstWithout(65) == 130);
  CHECK(numbers.firstWithout(131) == 201);
  CHECK(numbers.has(63));
  CHECK_FALSE(numbers.has(64));
}

// Whatever becomes of a service: what is decided by the slots that are read is what would be
// decided by all of them.
class Walk {
 public:
  explicit Walk(uint32_t seed, bool global) : random(seed) {
    for (auto id : ManySlots::NODES) bench.node(id);
    bench.service(20);
    if (!global) return;
    change([](schema::Service::Builder service) { service.getSpec().getMode().setGlobal(); });
  }
  void step() {
    bench.nowNs += static_cast<int64_t>(below(4)) * 3'000 * NS_PER_MS;
    for (uint32_t i = below(6); i > 0; --i) bench.change([&](View& view) { moveTask(view); });
    if (below(4) == 0) bench.change([&](View& view) { moveNode(view); });
    if (below(5) == 0) moveService();
    compare();
    bench.reconcile();
    if (below(3) > 0) bench.change([&](View& view) { placeSome(view); });
    checkStandings();
  }

 private:
  uint32_t below(uint32_t limit) { return random() % limit; }
  const char* anyNode() { return ManySlots::NODES[below(10)]; }

  template <typename F>
  void change(F&& edit) {
    bench.change([&](View& view) {
      if (view.service(bench.serviceId) == nullptr) return;
      view.editService(bench.serviceId, edit);
    });
  }
  void moveTask(View& view) {
    auto& tasks = bench.state.all(Kind::TASK);
    if (tasks.empty()) return;
    auto task = KJ_ASSERT_NONNULL(view.task(std::next(tasks.begin(), below(tasks.size()))->first));
    if (!isAssigned(task) || isTerminal(task)) return;
    static constexpr TaskState STATES[] = {TaskState::STARTING, TaskState::RUNNING,
                                           TaskState::RUNNING,  TaskState::COMPLETE,
                                           TaskState::SHUTDOWN, TaskState::FAILED};
    auto state = STATES[below(6)];
    if (state <= task.getStatus().getState()) return;
    view.editStatus(task, [&](schema::TaskStatus::Builder status) {
      status.setState(state);
      if (state == TaskState::RUNNING) status.setRunningAtNs(view.now());
      if (isTerminal(state)) status.setEndedAtNs(view.now());
    });
  }
  void moveNode(View& view) {
    auto id = anyNode();
    KJ_IF_MAYBE (node, view.node(id)) {
      bool gone = below(12) == 0;
      if (gone) return view.erase(Key{Kind::NODE, id});
      bool wasDown = isDown(*node);
      auto change = below(3);
      view.edit<Node>(Kind::NODE, id, [&](Node::Builder node) {
        if (change == 0) node.setDownSinceNs(wasDown ? 0 : view.now());
        if (change == 1) node.setAvailability(static_cast<Node::Availability>(below(3)));
        if (change == 2) node.initLabels(1)[0].setKey("zone");
        if (change == 2) node.getLabels()[0].setValue(below(2) == 0 ? "a" : "b");
      });
    } else {
      bench.node(id);
    }
  }
  void moveService() {
    change([&](schema::Service::Builder service) {
      auto spec = service.getSpec();
      switch (below(6)) {
        case 0:
          if (spec.getMode().isReplicated()) setReplicas(spec, below(30));
          break;
        case 1:
          service.setSpecVersion(service.getSpecVersion() + 1);
          spec.getTask().getContainer().setImage(below(2) == 0 ? "web" : "other");
          service.getUpdate().setState(schema::UpdateStatus::State::NONE);
          break;
        case 2:
          spec.getUpdate().setParallelism(below(4));
          spec.getUpdate().setOrder(below(2) == 0 ? schema::UpdateConfig::Order::START_FIRST
                                                  : schema::UpdateConfig::Order::STOP_FIRST);
          break;
        case 3:
          spec.getTask().getRestart().setCondition(
              static_cast<schema::RestartPolicy::Condition>(below(3)));
          break;
        case 4:
          spec.getTask().initPlacement().initConstraints(1).set(0, "node.labels.zone!=b");
          break;
        default:
          spec.getTask().initPlacement().setTolerateDownMs(below(2) * 5'000);
      }
    });
    if (below(40) == 0) {
      bench.change([&](View& view) {
        if (view.service(bench.serviceId) == nullptr) return;
        view.erase(Key{Kind::SERVICE, bench.serviceId});
      });
    }
  }
  void placeSome(View& view) {
    for (auto& slot : view.slots(bench.serviceId)) {
      for (auto& task : slot.tasks) {
        if (!isUnplaced(task) || below(5) == 0) continue;
        auto node = task.getNodeId().size() > 0 ? text(task.getNodeId()) : anyNode();
        view.editTask(task,
                      [&](schema::Task::Builder changed) { changed.setNodeId(node.c_str()); });
        view.editStatus(
            task, [](schema::TaskStatus::Builder status) { status.setState(TaskState::ASSIGNED); });
      }
    }
  }
  std::string decided(Extent extent) {
    View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
    std::string all = reconcileService(view, bench.serviceId, extent) ? "more;" : "all;";
    for (auto& [id, atNs] : view.wakeUps()) all += id + "@" + std::to_string(atNs) + ";";
    for (auto& [key, change] : view.changes()) {
      all += key.id + ":";
      for (auto words : {&change.words, &change.status}) {
        auto bytes = words->asBytes();
        all.append(bytes.begin(), bytes.end());
      }
    }
    return all;
  }
  void compare() {
    auto some = decided(Extent::RESTLESS);
    auto all = decided(Extent::ALL);
    while (bench.state.verdicts().open()) {
      bench.answerFilters();
      some = decided(Extent::RESTLESS);
      all = decided(Extent::ALL);
    }
    CHECK((some == all));
  }
  // They are kept up to date change by change.
  void checkStandings() {
    ServiceSlots anew;
    for (auto& entry : bench.state.all(Kind::TASK)) {
      anew.add(TaskReader(entry.second).slot(), entry.second);
    }
    auto kept = bench.state.slots(bench.serviceId);
    if (kept == nullptr) {
      CHECK(anew.all().empty());
      return;
    }
    CHECK(kept->restless() == anew.restless());
    CHECK(kept->settled() == anew.settled());
    CHECK(kept->settledRunning() == anew.settledRunning());
    CHECK(kept->leaving() == anew.leaving());
    CHECK(kept->troubled() == anew.troubled());
    CHECK(kept->settledVersions() == anew.settledVersions());
    CHECK(kept->failures() == anew.failures());
    for (auto& [key, entry] : anew.all()) {
      if (key.number == 0) continue;
      bool settled = entry.standing.rest == ServiceSlots::Rest::SETTLED;
      CHECK(kept->settledNumbers().has(key.number) == settled);
    }
  }

  Bench bench;
  std::mt19937 random;
};

TEST_CASE("slots: those that are not read would change nothing", "[manager]") {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    Walk walk(seed, seed % 4 == 0);
    for (int i = 0; i < 60; ++i) walk.step();
  }
}

}  // namespace
}  // namespace orch::control::manager
