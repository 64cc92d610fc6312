#include "scheduling.h"

#include <kj/debug.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "placement.h"
#include "slot-rules.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr kj::Duration ANSWER_LIMIT = 2 * kj::SECONDS;
constexpr int64_t RECENT_FAILURE_NS = 300'000 * NS_PER_MS;

// Tasks that ended badly on each node within five minutes.
std::map<std::string, uint32_t> recentFailures(const View& view, const Slots& slots,
                                               uint64_t specVersion) {
  std::map<std::string, uint32_t> result;
  for (auto& slot : slots) {
    for (auto& task : slot.tasks) {
      auto state = task.getStatus().getState();
      if (state != TaskState::FAILED && state != TaskState::REJECTED) continue;
      if (task.getSpecVersion() != specVersion || task.getNodeId().size() == 0) continue;
      if (task.getMeta().getUpdatedAtNs() + RECENT_FAILURE_NS > view.now()) {
        ++result[text(task.getNodeId())];
      }
    }
  }
  return result;
}

void explain(View& view, const std::vector<schema::Task::Reader>& tasks, size_t from,
             const std::string& why) {
  for (size_t i = from; i < tasks.size(); ++i) {
    if (manager::view(tasks[i].getStatus().getError()) == why) continue;
    view.editTask(tasks[i], [&](schema::Task::Builder task) {
      task.getStatus().setMessage("waits for a node");
      task.getStatus().setError(why.c_str());
    });
  }
}
}  // namespace

// Waiting tasks of one service and one spec.
struct Scheduling::Group {
  std::string serviceId;
  schema::TaskSpec::Reader spec;
  capnp::List<schema::PortSpec>::Reader ports;
  std::vector<schema::Task::Reader> tasks;
  std::map<std::string, uint32_t> failures;
  Candidates candidates;
};

Task<bool> Scheduling::place(View& view, std::string serviceId) {
  std::map<uint64_t, Group> groups;
  auto slots = view.slots(serviceId);
  for (auto& slot : slots) {
    for (auto& task : slot.tasks) {
      if (isUnplaced(task)) groups[task.getSpecVersion()].tasks.push_back(task);
    }
  }
  bool again = false;
  for (auto& entry : groups) {
    auto& group = entry.second;
    group.serviceId = serviceId;
    group.spec = group.tasks[0].getSpec();
    group.ports = group.tasks[0].getPorts();
    KJ_IF_MAYBE (service, view.service(serviceId)) {
      // A change of nothing but constraints left the tasks' specs as they were.
      if (service->getSpecVersion() == entry.first) group.spec = service->getSpec().getTask();
    }
    group.failures = recentFailures(view, slots, entry.first);
    bool failed = co_await placeGroup(view, group);
    again |= failed;
  }
  co_return again;
}

Task<bool> Scheduling::placeGroup(View& view, Group& group) {
  group.candidates = candidatesFor(view, group.serviceId, group.spec, group.ports);
  if (group.candidates.nodes.empty()) {
    explain(view, group.tasks, 0, whyNone(group.candidates));
    co_return false;
  }
  auto named = group.spec.getPlacement().getStrategy();
  auto strategy = named.size() == 0 ? kj::str(defaultService) : kj::str("scheduler.", named);
  auto first = co_await attempt(choose(view, group, kj::str(strategy)));
  kj::Vector<kj::String> nodes;
  if (first.ok()) {
    nodes = kj::mv(first.value());
  } else {
    // Its plugin was restarted: the table is gone, so open another one.
    tables.erase(strategy.cStr());
    auto second = co_await attempt(choose(view, group, kj::str(strategy)));
    if (!second.ok()) {
      tables.erase(strategy.cStr());
      auto why =
          kj::str("the strategy '", strategy, "' does not answer: ", plainText(second.error()));
      explain(view, group.tasks, 0, why.cStr());
      co_return true;
    }
    nodes = kj::mv(second.value());
  }
  size_t placed = std::min<size_t>(nodes.size(), group.tasks.size());
  for (size_t i = 0; i < placed; ++i) {
    view.editTask(group.tasks[i], [&](schema::Task::Builder task) {
      task.setNodeId(nodes[i]);
      auto status = task.getStatus();
      status.setState(TaskState::ASSIGNED);
      status.setAtNs(view.now());
      status.setMessage("assigned to a node");
      status.setError("");
    });
  }
  if (placed < group.tasks.size()) {
    auto left = candidatesFor(view, group.serviceId, group.spec, group.ports);
    explain(view, group.tasks, placed, whyNone(left));
  }
  co_return false;
}

Task<kj::Vector<kj::String>> Scheduling::choose(View& view, Group& group, kj::String strategy) {
  auto client = table(strategy);
  describeNodes(view, group, client);
  auto request = client.placeRequest();
  auto message = request.initGroup();
  message.setServiceId(group.serviceId.c_str());
  message.setReserveCpuNanos(group.spec.getResources().getReserveCpuNanos());
  message.setReserveMemoryBytes(group.spec.getResources().getReserveMemoryBytes());
  message.setMaxPerNode(maxPerNode(group.spec, group.ports));
  auto candidates = message.initCandidates(group.candidates.nodes.size());
  for (uint32_t i = 0; i < candidates.size(); ++i) {
    candidates.set(i, group.candidates.nodes[i].c_str());
  }
  request.setCount(group.tasks.size());
  request.setSeed(view.random());
  kj::Promise<capnp::Response<schema::PlacementTable::PlaceResults>> sent = request.send();
  auto answer = co_await env.timer().timeoutAfter(ANSWER_LIMIT, kj::mv(sent));
  kj::Vector<kj::String> nodes;
  for (auto id : answer.getNodes()) {
    KJ_REQUIRE(view.node(manager::view(id)) != nullptr,
               "the strategy chose a node that does not exist", id);
    nodes.add(kj::str(id));
  }
  co_return kj::mv(nodes);
}

schema::PlacementTable::Client& Scheduling::table(kj::StringPtr strategy) {
  auto it = tables.find(strategy.cStr());
  if (it == tables.end()) {
    auto request = host.service<schema::Scheduler>(strategy).openRequest();
    it = tables.emplace(strategy.cStr(), request.send().getTable()).first;
  }
  return it->second;
}

// The table gets the candidates' loads before each group: with that it is right whatever happened
// to the placements of a pass that could not be committed.
void Scheduling::describeNodes(const View& view, const Group& group,
                               schema::PlacementTable::Client& client) {
  auto request = client.applyRequest();
  auto list = request.initChanged(group.candidates.nodes.size());
  auto counts = view.wantedByNode(group.serviceId);
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto& id = group.candidates.nodes[i];
    auto description = KJ_ASSERT_NONNULL(view.node(id)).getDescription();
    auto usage = view.nodeUsage(id);
    auto left = [](uint64_t total, int64_t used) {
      return static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(total) - used));
    };
    auto load = list[i];
    load.setId(id.c_str());
    load.setTotalCpuNanos(description.getCpuNanos());
    load.setTotalMemoryBytes(description.getMemoryBytes());
    load.setAvailableCpuNanos(left(description.getCpuNanos(), usage.cpuNanos));
    load.setAvailableMemoryBytes(left(description.getMemoryBytes(), usage.memoryBytes));
    load.setTasks(std::max<int64_t>(0, usage.wanted));
    auto service = load.initServices(1)[0];
    service.setServiceId(group.serviceId.c_str());
    auto count = counts.find(id);
    service.setTasks(count == counts.end() ? 0 : std::max<int64_t>(0, count->second));
    auto failures = group.failures.find(id);
    service.setRecentFailures(failures == group.failures.end() ? 0 : failures->second);
  }
  request.send().ignoreResult().detach([](kj::Exception&&) {});  // `place` fails the same way
}

Task<kj::Vector<kj::String>> Scheduling::strategies() {
  constexpr kj::StringPtr PREFIX = "scheduler."_kj;
  auto request = host.client().servicesRequest();
  request.setPrefix(PREFIX);
  auto answer = co_await request.send();
  kj::Vector<kj::String> names;
  for (auto name : answer.getNames()) names.add(kj::str(name.slice(PREFIX.size())));
  co_return kj::mv(names);
}

}  // namespace orch::control::manager
