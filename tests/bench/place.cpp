// How fast the manager decides where tasks go: usage: orch-bench-place [NODES [SERVICES]]
// The manager's own reconcilers and scheduling with scheduler.spread, in one process on one core,
// on a state that is half full. Nothing is stored and no agent is told. A placement is counted when
// its task has its node in the view of a pass, with the reason why others wait. All times are of
// the CPU, so that what else runs on the machine is not in them. One figure a line: its name, what
// it is of (or -), its value. scripts/bench place makes a table and a picture of them.
#include <capnp/message.h>
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "constraint/constraint.h"
#include "decide/node-health.h"
#include "decide/reconcile.h"
#include "decide/slot-rules.h"
#include "lib/strategy-plugin.h"
#include "schedule/scheduling.h"
#include "spread/spread.h"

namespace orch::control::manager {
namespace {

constexpr int64_t NOW = 1'800'000'000'000'000'000;
constexpr uint64_t CORE = 1'000'000'000;
constexpr uint64_t GIB = 1ull << 30;
constexpr uint32_t SIZES[] = {4, 8, 16, 32, 64};  // cores; four times as many GiB
constexpr uint32_t ZONES = 10;
constexpr uint32_t FILLERS = 8;  // tasks that half fill each node

int64_t cpuNs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}
double since(int64_t beganNs) { return static_cast<double>(cpuNs() - beganNs) / 1e9; }
double millis(int64_t ns) { return static_cast<double>(ns) / 1e6; }
double heapBytes() {
  auto now = mallinfo2();
  return static_cast<double>(now.uordblks + now.hblkhd);
}
void print(const char* name, const std::string& of, double value) {
  printf("%s %s %.6g\n", name, of.c_str(), value);
  fflush(stdout);
}
double medianOf(std::vector<int64_t> times) {
  auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return static_cast<double>(*middle);
}

// A kernel that has two services.
class TwoServices final : public schema::Host::Server {
 public:
  TwoServices(schema::Scheduler::Client strategy, schema::Filter::Client filter)
      : strategy(kj::mv(strategy)), filter(kj::mv(filter)) {}
  kj::Promise<void> service(ServiceContext context) override {
    capnp::Capability::Client it = strategy;
    if (context.getParams().getName().startsWith("filter.")) it = filter;
    context.getResults().setCapability(it);
    return kj::READY_NOW;
  }
  kj::Promise<void> log(LogContext context) override {
    fprintf(stderr, "%s\n", context.getParams().getMessage().cStr());
    return kj::READY_NOW;
  }

 private:
  schema::Scheduler::Client strategy;
  schema::Filter::Client filter;
};

// The longest time between two turns of the loop.
class Turns final {
 public:
  explicit Turns(Env& env) : env(env), ticking(tick().promise().eagerlyEvaluate(nullptr)) {}
  int64_t takeLongestNs() { return lastNs = cpuNs(), std::exchange(longestNs, 0); }

 private:
  Task<void> tick() {
    for (;; lastNs = cpuNs()) {
      co_await env.timer().afterDelay(0 * kj::NANOSECONDS);
      longestNs = std::max(longestNs, cpuNs() - lastNs);
    }
  }
  Env& env;
  int64_t lastNs = cpuNs();
  int64_t longestNs = 0;
  kj::Promise<void> ticking;
};

struct Wish {
  std::string name;
  uint32_t replicas = 1;
  std::string constraint;
  std::string spreadOver;
  uint64_t cpuNanos = 0;
  uint64_t memoryBytes = 0;
};

class Cluster final {
 public:
  Cluster(Env& env, uint32_t count)
      : env(env),
        host(
            kj::heap<TwoServices>(scheduler::newScheduler(
                                      scheduler::PlacementTable::of<scheduler::spread::RANKING>(5)),
                                  filter::newFilter(filter::constraint::CONSTRAINT)),
            {}),
        placer(env, host, "scheduler.spread", [](auto) {}) {
    for (uint32_t i = 0; i < count; ++i) addNode(i);
  }
  void halfFill() {
    auto count = static_cast<uint32_t>(nodes.size());
    for (uint32_t first = 0; first < count; first += AT_ONCE) {
      for (uint32_t size = 0; size < std::size(SIZES); ++size) fill(first, size);
    }
  }

  std::string add(const Wish& wish) {
    std::string id;
    change([&](View& view) {
      id = view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
        auto spec = service.initSpec();
        spec.setName(wish.name.c_str());
        spec.getMode().initReplicated().setReplicas(wish.replicas);
        auto task = spec.initTask();
        task.initContainer().setImage("registry.example.com/team/web:1");
        task.initResources().setReserveCpuNanos(wish.cpuNanos);
        task.getResources().setReserveMemoryBytes(wish.memoryBytes);
        auto placement = task.initPlacement();
        if (!wish.constraint.empty()) {
          placement.initConstraints(1).set(0, wish.constraint.c_str());
        }
        if (!wish.spreadOver.empty()) {
          placement.initSpreadOver(1).set(0, wish.spreadOver.c_str());
        }
        service.setSpecVersion(1);
      });
    });
    return id;
  }
  // Makes the tasks that are missing.
  void reconcile(const std::string& id) {
    bool more = true;
    while (more) change([&](View& view) { more = reconcileService(view, id); });
  }
  // Decides all that the service needs, as passes do it. Answers how many tasks got nodes.
  Task<size_t> decide(std::string id) {
    size_t placed = 0;
    for (bool more = true; more;) {
      View view(current, NOW, Seed{1, 2, 3, ++revision});
      ServicePass pass(view, id);
      for (auto untilNs = cpuNs() + SLICE_NS; pass.step();) {
        if (cpuNs() > untilNs) {
          co_await others();
          untilNs = cpuNs() + SLICE_NS;
        }
      }
      auto waiting = view.unplaced(id);
      bool unfinished = co_await place(view, id);
      placed += waiting - view.unplaced(id);
      more = unfinished || pass.isUnfinished();
      co_await commit(view);
      co_await others();
    }
    co_return placed;
  }
  Task<bool> place(View& view, std::string id) {
    auto beganNs = cpuNs();
    bool more = co_await placer.place(view, kj::mv(id));
    placingNs += cpuNs() - beganNs;
    co_return more;
  }
  Task<void> commit(View& view) {
    auto changes = view.takeChanges();
    auto beganNs = cpuNs();
    size_t applied = 0;
    for (auto& entry : changes) {
      current.apply(entry.first, kj::mv(entry.second), revision);
      if (++applied % 128 == 0) co_await others();
    }
    applyingNs += cpuNs() - beganNs;
  }
  template <typename F>
  void change(F&& decide) {
    View view(current, NOW, Seed{1, 2, 3, ++revision});
    decide(view);
    for (auto& entry : view.takeChanges()) {
      current.apply(entry.first, kj::mv(entry.second), revision);
    }
  }
  // The nodes are not heard of any more.
  Task<void> lose(uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; ++i) {
      current.setPresence(nodeId(i), {Presence::MISSED, 0, "no heartbeat for 2.5s"});
      View view(current, NOW, Seed{1, 2, 3, ++revision});
      reconcileNode(view, nodeId(i), NEVER_NS / 2);
      for (auto& id : view.takeTouched()) touched.insert(id);
      co_await commit(view);
      co_await others();
    }
  }
  static std::string nodeId(uint32_t number) {
    auto digits = std::to_string(1'000'000 + number * 7919 % 1'000'000);
    return "4n1x7q0w9r2t8k5m6b" + digits;
  }
  kj::Promise<void> others() { return env.timer().afterDelay(0 * kj::NANOSECONDS); }
  const State& state() const { return current; }

  std::set<std::string> touched;  // services
  int64_t placingNs = 0;
  int64_t applyingNs = 0;  // what was decided to the state

 private:
  static constexpr int64_t SLICE_NS = 5'000'000;
  static constexpr uint32_t AT_ONCE = 250;  // nodes that services fill together

  void addNode(uint32_t number) {
    uint32_t cores = SIZES[number % std::size(SIZES)];
    auto id = nodeId(number);
    change([&](View& view) {
      capnp::MallocMessageBuilder message;
      auto description = message.initRoot<schema::NodeDescription>();
      description.setHostname(("node-" + std::to_string(number)).c_str());
      description.setOs("linux");
      description.setArchitecture("x86_64");
      description.setCpuNanos(cores * CORE);
      description.setMemoryBytes(cores * 4 * GIB);
      description.initRuntimes(1).set(0, "crun");
      registerNode(view, id, description);
      view.edit<schema::Node>(Kind::NODE, id, [&](schema::Node::Builder node) {
        auto labels = node.initLabels(3);
        auto set = [&](int at, const char* key, const std::string& value) {
          labels[at].setKey(key);
          labels[at].setValue(value.c_str());
        };
        set(0, "disk", number / 5 % 2 == 0 ? "ssd" : "hdd");
        set(1, "zone", "z" + std::to_string(number / 10 % ZONES));
        set(2, "rack", "r" + std::to_string(number / 40));
      });
    });
    current.setPresence(id, {Presence::HEARD, 0, {}});
    nodes.push_back(id);
  }
  // Half of each node of that size among some.
  void fill(uint32_t first, uint32_t size) {
    Wish wish;
    wish.name = "filler-" + std::to_string(first + size);
    wish.cpuNanos = SIZES[size] * CORE / 2 / FILLERS;
    wish.memoryBytes = SIZES[size] * 4 * GIB / 2 / FILLERS;
    wish.constraint = "node.cpus==" + std::to_string(SIZES[size]);
    std::vector<std::string> mine;
    for (uint32_t i = first + size; i < std::min<size_t>(first + AT_ONCE, nodes.size());
         i += std::size(SIZES)) {
      mine.push_back(nodes[i]);
    }
    wish.replicas = static_cast<uint32_t>(mine.size()) * FILLERS;
    auto serviceId = add(wish);
    reconcile(serviceId);
    size_t next = 0;
    change([&](View& view) {
      for (auto& slot : view.slots(serviceId)) {
        auto& task = slot.tasks[0];
        auto& node = mine[next++ % mine.size()];
        view.editTask(task, [&](schema::Task::Builder made) { made.setNodeId(node.c_str()); });
        view.editStatus(task, [&](schema::TaskStatus::Builder status) {
          status.setState(schema::TaskState::RUNNING);
          status.setRunningAtNs(NOW);
        });
      }
    });
  }

  Env& env;
  Host host;
  State current;
  Scheduling placer;
  uint64_t revision = 0;
  std::vector<std::string> nodes;
};

// One of a thousand kinds.
Wish wishOf(uint32_t number, uint32_t replicas) {
  static constexpr const char* CONSTRAINTS[] = {
      "node.labels.disk==ssd",     "node.labels.disk==hdd",       "node.labels.zone!=z3",
      "node.labels.zone!=z7",      "node.labels.zone in (z1,z2)", "node.platform.os==linux",
      "node.cpus >= 16",           "node.memory >= 64g",          "node.labels.rack!=r1",
      "node.labels.zone==/z[0-5]/"};
  Wish wish;
  wish.name = "web-" + std::to_string(number);
  wish.replicas = replicas;
  wish.constraint = CONSTRAINTS[number % std::size(CONSTRAINTS)];
  wish.spreadOver = number % 3 == 0 ? "node.labels.rack" : "node.labels.zone";
  wish.cpuNanos = CORE / 20 * (1 + number % 7);
  wish.memoryBytes = GIB / 16 * (1 + number % 5);
  return wish;
}

// One more task of a service, over and over; or a service without any, as a request and the pass
// after it make it.
void single(kj::WaitScope& waitScope, Env& env, uint32_t nodes) {
  constexpr uint32_t TIMES = 201;
  Cluster cluster(env, nodes);
  cluster.halfFill();
  bool hasAllZones = nodes >= ZONES * 10;
  std::vector<int64_t> places, creates;
  for (uint32_t i = 0; i < TIMES; ++i) {
    if (hasAllZones) {
      auto id = cluster.add(wishOf(i, 1));
      cluster.reconcile(id);
      cluster.placingNs = 0;
      KJ_REQUIRE(cluster.decide(id).promise().wait(waitScope) == 1);
      places.push_back(cluster.placingNs);
    }
    auto beganNs = cpuNs();
    auto empty = cluster.add(wishOf(TIMES + i, 0));
    cluster.reconcile(empty);
    cluster.decide(empty).promise().wait(waitScope);
    creates.push_back(cpuNs() - beganNs);
  }
  if (hasAllZones) print("one_us", std::to_string(nodes), medianOf(places) / 1e3);
  print("create_us", std::to_string(nodes), medianOf(creates) / 1e3);
}

struct Kinds {
  std::vector<std::string> ids;
  size_t tasks = 0;
};
Kinds addKinds(Cluster& cluster, uint32_t services) {
  std::minstd_rand random(1);
  Kinds made;
  for (uint32_t i = 0; i < services; ++i) {
    auto replicas = 1 + random() % 500;
    made.tasks += replicas;
    made.ids.push_back(cluster.add(wishOf(i, replicas)));
    cluster.reconcile(made.ids.back());
  }
  return made;
}

void placeAll(kj::WaitScope& waitScope, Cluster& cluster, Turns& turns, uint32_t services) {
  auto before = heapBytes();
  auto made = addKinds(cluster, services);
  auto beganNs = cpuNs();
  size_t placed = 0;
  turns.takeLongestNs();
  for (auto& id : made.ids) placed += cluster.decide(id).promise().wait(waitScope);
  auto took = since(beganNs);
  KJ_REQUIRE(placed == made.tasks, placed, made.tasks);
  auto count = static_cast<double>(placed);
  print("tasks", "-", count);
  print("placements_per_s", "-", count * 1e9 / static_cast<double>(cluster.placingNs));
  // With the making of the change, and the state brought up to date.
  print("committed_per_s", "-", count / took);
  print("place_loop_ms", "-", millis(turns.takeLongestNs()));
  print("task_bytes", "-", (heapBytes() - before) / count);
}

void loseSome(kj::WaitScope& waitScope, Cluster& cluster, Turns& turns, uint32_t nodes) {
  cluster.placingNs = cluster.applyingNs = 0;
  turns.takeLongestNs();
  auto beganNs = cpuNs();
  cluster.lose(nodes / 4, nodes / 10).promise().wait(waitScope);
  print("lost_noted_s", "-", since(beganNs));
  size_t moved = 0;
  for (auto& id : cluster.touched) moved += cluster.decide(id).promise().wait(waitScope);
  print("lost_s", "-", since(beganNs));
  print("lost_tasks", "-", static_cast<double>(moved));
  print("lost_services", "-", static_cast<double>(cluster.touched.size()));
  print("lost_placing_s", "-", millis(cluster.placingNs) / 1e3);
  print("lost_applying_s", "-", millis(cluster.applyingNs) / 1e3);
  print("lost_loop_ms", "-", millis(turns.takeLongestNs()));
}

int measure(uint32_t nodes, uint32_t services) {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  for (uint32_t count : {10u, 100u, 1'000u, 10'000u}) single(io.waitScope, *env, count);
  auto before = heapBytes();
  Cluster cluster(*env, nodes);
  auto first = cluster.add(wishOf(services, 1));
  cluster.reconcile(first);
  cluster.decide(first).promise().wait(io.waitScope);
  print("node_bytes", "-", (heapBytes() - before) / nodes);  // with what scheduling knows of it
  cluster.halfFill();
  Turns turns(*env);
  placeAll(io.waitScope, cluster, turns, services);
  loseSome(io.waitScope, cluster, turns, nodes);
  return 0;
}

}  // namespace
}  // namespace orch::control::manager

int main(int argc, char** argv) {
  auto number = [&](int at, uint32_t otherwise) {
    return argc > at ? static_cast<uint32_t>(strtoul(argv[at], nullptr, 10)) : otherwise;
  };
  return orch::control::manager::measure(number(1, 10'000), number(2, 1'000));
}
