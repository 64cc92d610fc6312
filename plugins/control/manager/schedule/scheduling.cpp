#include "schedule/scheduling.h"

#include <kj/debug.h>
#include <xxhash.h>

#include <span>

#include "decide/address-allocator.h"
#include "decide/dependencies.h"
#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "schedule/placement.h"
#include "state/events.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr int64_t RETRY_NS = 5'000 * NS_PER_MS;
constexpr int64_t RECENT_FAILURE_NS = 300'000 * NS_PER_MS;
// Of a group's tasks: looked at, given nodes or told why not before the loop turns.
constexpr size_t TASKS_AT_ONCE = 128;

// Tasks that ended badly on each node within five minutes.
std::map<std::string, uint32_t> recentFailures(const View& view, const Slots& slots,
                                               uint64_t specVersion) {
  std::map<std::string, uint32_t> result;
  for (auto& slot : slots) {
    bool oldest = true;
    for (auto& task : slot.tasks) {
      bool first = std::exchange(oldest, false);
      auto state = task.getStatus().getState();
      if (state != TaskState::FAILED && state != TaskState::REJECTED) continue;
      if (task.getSpecVersion() != specVersion || task.getNodeId().size() == 0) continue;
      if (task.endedAtNs() + RECENT_FAILURE_NS <= view.now()) continue;
      // The one before the oldest is forgotten, and is taken to have been like it: a slot keeps
      // fewer ended tasks than a strategy may want to see.
      result[text(task.getNodeId())] += first && task.getRestarts() > 0 ? 2 : 1;
    }
  }
  return result;
}

// Tasks on each node that end as soon as the one that is to replace them runs.
std::map<std::string, uint32_t> aboutToLeave(const Slots& slots) {
  std::map<std::string, uint32_t> result;
  for (auto& slot : slots) {
    bool replaced = false;
    for (auto task = slot.tasks.rbegin(); task != slot.tasks.rend(); ++task) {
      if (!isWanted(*task) || isTerminal(*task)) continue;
      if (std::exchange(replaced, true) && isAssigned(*task)) ++result[text(task->getNodeId())];
    }
  }
  return result;
}

// Whether it had not been told that before.
bool explain(View& view, const TaskReader& task, const std::string& why) {
  if (manager::view(task.getStatus().getError()) == why) return false;
  view.editStatus(task, [&](schema::TaskStatus::Builder status) {
    status.setMessage("waits for a node");
    status.setError(why.c_str());
  });
  return true;
}

// What it is placed by: a change of nothing but constraints left the tasks' specs as they were.
schema::TaskSpec::Reader specFor(const View& view, const TaskReader& task) {
  KJ_IF_MAYBE (service, view.service(manager::view(task.getServiceId()))) {
    if (service->getSpecVersion() == task.getSpecVersion()) return service->getSpec().getTask();
  }
  return task.getSpec();
}

// False if a network has no address for it; then the service is looked at again.
bool assignTo(View& view, const TaskReader& task, const std::string& nodeId, std::string& why) {
  std::vector<ChosenLeg> legs;
  Lack lack;
  if (!chooseLegs(view, task.getSpec(), legs, lack)) {
    why = lack.why;
    bool known = lack.untilNs > 0;
    view.wakeAt(manager::view(task.getServiceId()), known ? lack.untilNs : view.now() + RETRY_NS);
    return false;
  }
  if (task.getNodeId().size() == 0 || !legs.empty()) {
    view.editTask(task, [&](schema::Task::Builder changed) {
      changed.setNodeId(nodeId.c_str());
      auto list = changed.initLegs(legs.size());
      for (uint32_t i = 0; i < list.size(); ++i) {
        list[i].setNetwork(legs[i].network.c_str());
        list[i].setAddress(legs[i].address.c_str());
        list[i].setAddress6(legs[i].address6.c_str());
        list[i].setInternal(legs[i].internal);
      }
    });
  }
  if (!task.hasOwnStatus()) return true;  // that it has a node says it all
  view.editStatus(task, [&](schema::TaskStatus::Builder status) {
    status.setState(TaskState::ASSIGNED);
    status.setAtNs(view.now());
    if (!isRebalanced(task)) status.setMessage(schema::ASSIGNED_STATUS->getMessage());
    status.setError("");
  });
  return true;
}

std::vector<TaskReader> waiting(const View& view, std::span<const std::string> taskIds) {
  std::vector<TaskReader> tasks;
  for (auto& id : taskIds) {
    KJ_IF_MAYBE (task, view.task(id)) {
      if (isUnplaced(*task)) tasks.push_back(*task);
    }
  }
  return tasks;
}

// Gives the chosen nodes to those of the tasks that still wait. A strategy may be wrong, and its
// answer old: each node is checked again. Answers how many have one now.
size_t assign(View& view, const std::string& serviceId, std::span<const std::string> taskIds,
              std::span<const std::string> nodes, const std::string& strategy) {
  size_t next = 0;
  size_t assigned = 0;
  bool wrong = false;
  std::string lacking;  // but for a node
  for (auto& task : waiting(view, taskIds)) {
    bool placed = false;
    while (!placed && next < nodes.size()) {
      auto& nodeId = nodes[next++];
      KJ_IF_MAYBE (node, view.node(nodeId)) {
        placed = canTake(view, *node, specFor(view, task), task.getPorts(), view.nodeUsage(nodeId),
                         view.wantedOn(serviceId, nodeId));
      }
      wrong |= !placed;
      if (placed && !assignTo(view, task, nodeId, lacking)) break;
      assigned += placed;
    }
    if (!lacking.empty()) break;
  }
  auto left = waiting(view, taskIds);
  if (left.empty()) return assigned;
  auto why = lacking;
  if (why.empty()) {
    auto candidates = candidatesFor(view, serviceId, specFor(view, left[0]), left[0].getPorts());
    bool again = wrong && !candidates.nodes.empty();
    if (again) view.wakeAt(serviceId, view.now() + RETRY_NS);
    why = again ? "the strategy '" + strategy + "' chose nodes that cannot take the task"
                : whyNone(candidates);
  }
  for (auto& task : left) explain(view, task, why);
  return assigned;
}

// The part of what was chosen that is for the tasks from `first` on.
std::span<const std::string> partOf(const std::vector<std::string>& all, size_t first) {
  first = std::min(first, all.size());
  return std::span(all).subspan(first, std::min(TASKS_AT_ONCE, all.size() - first));
}

// A task whose slot is a node, or that was to be moved there: there is nothing to choose.
void assignToOwn(View& view, const TaskReader& task) {
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    auto why = whyNot(view, *node, specFor(view, task), task.getPorts());
    if (why.empty()) assignTo(view, task, text(task.getNodeId()), why);
    if (!why.empty()) explain(view, task, why);
    if (!why.empty() && task.slot().number > 0) setDesired(view, task, TaskState::SHUTDOWN);
  }
}
}  // namespace

// Waiting tasks of one service and one spec.
struct Scheduling::Group {
  std::string serviceId;
  schema::TaskSpec::Reader spec;
  capnp::List<schema::PortSpec>::Reader ports;
  std::vector<TaskReader> tasks;
  TaskIds asked;  // those of them that the strategy is asked for
  std::map<std::string, uint32_t> failures;
  std::map<std::string, uint32_t> leaving;
  Candidates candidates;
};

kj::Promise<void> Scheduling::others() { return env.timer().afterDelay(0 * kj::NANOSECONDS); }

Task<bool> Scheduling::place(View& view, std::string serviceId) {
  std::map<uint64_t, Group> groups;
  SlotsReader reader(view, serviceId, Extent::RESTLESS, view.now() - RECENT_FAILURE_NS);
  while (reader.read()) co_await others();
  auto slots = reader.take();
  auto lack = unmetDependency(view, serviceId);
  size_t own = 0;
  Group held;  // back, until other services are there
  for (auto& slot : slots) {
    bool waits = !lack.empty() && isFirstStart(slot);
    for (auto& task : slot.tasks) {
      if (!isUnplaced(task)) continue;
      if (waits || task.getNodeId().size() == 0) {
        (waits ? held : groups[task.getSpecVersion()]).tasks.push_back(task);
        continue;
      }
      assignToOwn(view, task);
      if (++own % TASKS_AT_ONCE == 0) co_await others();
    }
  }
  bool unfinished = co_await explainFrom(view, held, 0, lack);
  for (auto& entry : groups) {
    auto& group = entry.second;
    group.serviceId = serviceId;
    group.spec = specFor(view, group.tasks[0]);
    group.ports = group.tasks[0].getPorts();
    group.failures = recentFailures(view, slots, entry.first);
    // Spread is what stays. A limit per node holds now, though.
    if (maxPerNode(group.spec, group.ports) == 0) group.leaving = aboutToLeave(slots);
    bool more = co_await placeGroup(view, group);
    unfinished |= more;
  }
  co_return unfinished;
}

Task<bool> Scheduling::placeGroup(View& view, Group& group) {
  group.candidates = candidatesFor(view, group.serviceId, group.spec, group.ports);
  if (group.candidates.nodes.empty()) {
    bool more = co_await explainFrom(view, group, 0, whyNone(group.candidates));
    co_return more;
  }
  auto name = strategyOf(group.spec);
  auto& strategy = known[name];
  if (strategy.asked) {
    strategy.deferred.insert(group.serviceId);
    co_return false;
  }
  co_await others();
  int64_t newestNs = 0;
  for (auto& task : group.tasks) {
    if (group.asked.size() < MAX_CHANGED_PER_PASS) group.asked.push_back(task.id());
    newestNs = std::max(newestNs, task.getMeta().getCreatedAtNs());
  }
  // What it failed with before a task was there says nothing of this one.
  bool asks = view.now() >= strategy.downUntilNs || newestNs > strategy.failedAtNs;
  // A second time if its plugin was restarted: the table is gone, so another one is opened.
  for (int tries = 0; tries < 2 && asks; ++tries) {
    auto waits = strategy.failed || strategy.slow ? 0 * kj::MILLISECONDS : patience;
    auto forked = ask(requestFor(view, group, tableOf(strategy, name))).promise().fork();
    auto timeUp = env.timer().afterDelay(waits).then([] {
      auto none = kj::refcounted<Answer>();
      none->pending = true;
      return none;
    });
    auto either = forked.addBranch().exclusiveJoin(kj::mv(timeUp));
    auto answer = co_await either;
    strategy.slow = answer->pending;
    if (answer->pending) {
      strategy.asked = true;
      late.add(awaitLate(kj::mv(forked), name, group.serviceId, kj::mv(group.asked)));
      co_return false;
    }
    if (answer->failure.size() == 0) {
      strategy.failed = false;
      bool more = co_await assignAll(view, group, answer->nodes, name);
      co_return more;
    }
    strategy.table = nullptr;
    if (tries > 0) noteFailure(strategy, name, answer->failure);
  }
  view.wakeAt(group.serviceId, strategy.downUntilNs);
  bool more = co_await explainFrom(view, group, 0, strategy.why);
  co_return more;
}

Task<bool> Scheduling::assignAll(View& view, const Group& group,
                                 const std::vector<std::string>& nodes, std::string strategy) {
  size_t assigned = 0;
  for (size_t first = 0; first < group.asked.size(); first += TASKS_AT_ONCE) {
    co_await others();
    assigned +=
        assign(view, group.serviceId, partOf(group.asked, first), partOf(nodes, first), strategy);
  }
  bool all = group.asked.size() == group.tasks.size();
  if (all || assigned > 0) co_return !all;
  // Those that were not asked for wait for the same.
  auto last = KJ_ASSERT_NONNULL(view.task(group.asked.back()));
  bool more =
      co_await explainFrom(view, group, group.asked.size(), text(last.getStatus().getError()));
  co_return more;
}

// Answers whether there are more than a pass should tell.
Task<bool> Scheduling::explainFrom(View& view, const Group& group, size_t first, std::string why) {
  size_t told = 0;
  for (size_t i = first; i < group.tasks.size(); ++i) {
    if (told == MAX_CHANGED_PER_PASS) co_return true;
    if (!explain(view, group.tasks[i], why)) continue;
    if (++told % TASKS_AT_ONCE == 0) co_await others();
  }
  co_return false;
}

Task<void> Scheduling::awaitLate(kj::ForkedPromise<kj::Own<Answer>> forked, std::string name,
                                 std::string serviceId, TaskIds tasks) {
  auto answer = co_await forked.addBranch();
  auto& strategy = known[name];
  strategy.asked = false;
  auto others = std::exchange(strategy.deferred, {});
  others.insert(serviceId);  // if it failed, its tasks are told why
  if (answer->failure.size() > 0) {
    noteFailure(strategy, name, answer->failure);
    tasks.clear();
  } else {
    strategy.failed = false;
  }
  for (size_t first = 0; first < tasks.size(); first += TASKS_AT_ONCE) {
    auto ids = partOf(tasks, first);
    submit([answer = answer->addRef(), name, serviceId, first,
            ids = TaskIds(ids.begin(), ids.end())](View& view) {
      assign(view, serviceId, ids, partOf(answer->nodes, first), name);
    });
  }
  submit([others = kj::mv(others)](View& view) {
    for (auto& id : others) view.touch(id);
  });
}

void Scheduling::noteFailure(Strategy& strategy, const std::string& name, kj::StringPtr reason) {
  strategy.table = nullptr;
  strategy.why = "the strategy '" + name + "' " + shortened(reason).cStr();
  strategy.failedAtNs = env.nowNs();
  strategy.downUntilNs = strategy.failedAtNs + RETRY_NS;
  if (!std::exchange(strategy.failed, true)) {
    host.log().warn("manager.strategy-failed, asking again every 5 s",
                    {{"strategy", name.c_str()}, {"reason", reason}});
  }
}

void Scheduling::taskFailed(kj::Exception&& exception) {
  host.log().error("manager.pass-failed", {{"reason", plainText(exception)}});
}

// Never fails.
Task<kj::Own<Scheduling::Answer>> Scheduling::ask(PlaceRequest request) {
  using Placed = capnp::Response<schema::PlacementTable::PlaceResults>;
  kj::Promise<Placed> sent = request.send();
  auto late = []() -> Placed {
    kj::throwFatalException(
        KJ_EXCEPTION(OVERLOADED, "nothing within 2 s; does it run? see 'orch plugin ls'"));
  };
  auto timeUp = env.timer().afterDelay(ANSWER_LIMIT).then(kj::mv(late));
  auto outcome = co_await attempt(sent.exclusiveJoin(kj::mv(timeUp)));
  auto answer = kj::refcounted<Answer>();
  if (outcome.ok()) {
    for (auto id : outcome.value().getNodes()) answer->nodes.push_back(text(id));
  } else {
    auto type = outcome.error().getType();
    bool silent =
        type == kj::Exception::Type::OVERLOADED || type == kj::Exception::Type::DISCONNECTED;
    answer->failure = kj::str(silent ? "does not answer: " : "failed: ", outcome.message());
  }
  co_return kj::mv(answer);
}

namespace {
// Of the service's name, its spec and the slot of the first: who plans it gets the same nodes as
// who does it afterwards.
uint64_t seedOf(const TaskReader& first) {
  auto what = text(first.getServiceName()) + "/" + std::to_string(first.getSpecVersion()) + "/" +
              nameOf(first.slot());
  return XXH3_64bits(what.data(), what.size());
}
}  // namespace

Scheduling::PlaceRequest Scheduling::requestFor(View& view, const Group& group,
                                                schema::PlacementTable::Client& table) {
  describeNodes(view, group, table);
  auto request = table.placeRequest();
  fillGroup(view, group, request.initGroup());
  request.setCount(group.asked.size());
  request.setSeed(seedOf(group.tasks[0]));
  return request;
}

schema::PlacementTable::Client& Scheduling::tableOf(Strategy& strategy, const std::string& name) {
  KJ_IF_MAYBE (open, strategy.table) return *open;
  auto request = host.service<schema::Scheduler>(name.c_str()).openRequest();
  return strategy.table.emplace(request.send().getTable());
}

// Spread preferences are numbers by candidate: a strategy knows nothing of labels.
void Scheduling::fillGroup(const View& view, const Group& group,
                           schema::TaskGroup::Builder message) {
  auto& nodes = group.candidates.nodes;
  message.setServiceId(group.serviceId.c_str());
  message.setReserveCpuNanos(group.spec.getResources().getReserveCpuNanos());
  message.setReserveMemoryBytes(group.spec.getResources().getReserveMemoryBytes());
  message.setMaxPerNode(maxPerNode(group.spec, group.ports));
  auto candidates = message.initCandidates(nodes.size());
  for (uint32_t i = 0; i < nodes.size(); ++i) candidates.set(i, nodes[i].c_str());
  auto labels = group.spec.getPlacement().getSpreadOver();
  if (labels.size() == 0) return;
  auto levels = message.initLevels(labels.size());
  std::vector<std::map<std::string, uint32_t>> known(labels.size());  // numbers of values
  auto branchOf = [&](uint32_t level, const std::string& nodeId) {
    auto value =
        attributeOf(view, KJ_ASSERT_NONNULL(view.node(nodeId)), manager::view(labels[level]));
    auto& numbers = known[level];
    return numbers.try_emplace(value, numbers.size()).first->second;
  };
  for (uint32_t level = 0; level < labels.size(); ++level) {
    auto numbers = levels.init(level, nodes.size());
    for (uint32_t i = 0; i < nodes.size(); ++i) numbers.set(i, branchOf(level, nodes[i]));
  }
  auto counts = view.wantedByNode(group.serviceId);
  for (auto& id : nodes) counts.erase(id);
  std::erase_if(
      counts, [&](auto& entry) { return entry.second <= 0 || view.node(entry.first) == nullptr; });
  auto elsewhere = message.initElsewhere(counts.size());
  uint32_t next = 0;
  for (auto& [nodeId, count] : counts) {
    auto other = elsewhere[next++];
    auto branches = other.initBranches(labels.size());
    for (uint32_t level = 0; level < labels.size(); ++level) {
      branches.set(level, branchOf(level, nodeId));
    }
    other.setTasks(count);
  }
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
    auto gone = group.leaving.find(id);
    int64_t leaving = gone == group.leaving.end() ? 0 : gone->second;
    load.setTasks(std::max<int64_t>(0, usage.wanted - leaving));
    auto service = load.initServices(1)[0];
    service.setServiceId(group.serviceId.c_str());
    service.setTasks(std::max<int64_t>(0, counts[id] - leaving));
    auto failures = group.failures.find(id);
    service.setRecentFailures(failures == group.failures.end() ? 0 : failures->second);
  }
  request.send().ignoreResult().detach([](kj::Exception&&) {});  // `place` fails the same way
}

std::string Scheduling::strategyOf(schema::TaskSpec::Reader spec) const {
  auto named = spec.getPlacement().getStrategy();
  return named.size() == 0 ? defaultService.cStr() : "scheduler." + text(named);
}

Task<std::map<std::string, Scheduling::Terms>> Scheduling::standings(
    View& view, std::string serviceId, schema::TaskSpec::Reader spec,
    capnp::List<schema::PortSpec>::Reader ports, std::vector<std::string> candidates) {
  Group group;
  group.serviceId = kj::mv(serviceId);
  group.spec = spec;
  group.ports = ports;
  group.candidates.nodes = kj::mv(candidates);
  // Of its own: what it says of nodes is to be forgotten.
  auto opened = host.service<schema::Scheduler>(strategyOf(spec).c_str()).openRequest().send();
  auto table = opened.getTable();
  describeNodes(view, group, table);
  auto request = table.explainRequest();
  fillGroup(view, group, request.initGroup());
  kj::Promise<capnp::Response<schema::PlacementTable::ExplainResults>> sent = request.send();
  auto asked = env.timer().timeoutAfter(ANSWER_LIMIT, kj::mv(sent));
  auto answer = co_await attempt(kj::mv(asked));
  std::map<std::string, Terms> result;
  if (!answer.ok()) co_return kj::mv(result);
  for (auto node : answer.value().getNodes()) {
    auto& terms = result[text(node.getId())];
    for (auto term : node.getTerms()) terms.emplace_back(text(term.getName()), term.getValue());
  }
  co_return kj::mv(result);
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
