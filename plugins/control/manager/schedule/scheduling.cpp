#include "schedule/scheduling.h"

#include <kj/debug.h>
#include <xxhash.h>

#include <bit>
#include <span>
#include <unordered_map>

#include "decide/dependencies.h"
#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "schedule/assigning.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

namespace {
// Of a group's tasks: looked at, given nodes or told why not before the loop turns.
constexpr size_t TASKS_AT_ONCE = 128;
// A strategy is told of so many before it turns.
constexpr size_t NODES_AT_ONCE = 1'000;

// A strategy is told of reservations and of the limit per node: these are the manager's own.
bool hasOwnLimits(schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports) {
  return takesHostPort(ports) || spec.getResources().getGeneric().size() > 0;
}

template <typename F>
void eachNode(const std::vector<uint64_t>& bits, F&& use) {
  for (size_t i = 0; i < bits.size(); ++i) {
    for (uint64_t left = bits[i]; left != 0; left &= left - 1) {
      use(static_cast<uint32_t>(i * 64 + std::countr_zero(left)));
    }
  }
}

// The part of what was chosen that is for the tasks from `first` on.
template <typename T>
std::span<const T> partOf(const std::vector<T>& all, size_t first) {
  first = std::min(first, all.size());
  return std::span(all).subspan(first, std::min(TASKS_AT_ONCE, all.size() - first));
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
  std::vector<uint64_t> candidates;  // a bit each
  std::vector<NodeBook::Set::Wish> wishes;
  bool isAlone = false;  // no two on a node
  bool isFirst = false;  // where the first one is says where the others may be

  NodeBook::Wanted wanted() const { return {serviceId, spec, ports}; }
};

kj::Promise<void> Scheduling::others() { return env.timer().afterDelay(0 * kj::NANOSECONDS); }

Task<bool> Scheduling::place(View& view, std::string serviceId) {
  std::map<uint64_t, Group> groups;
  SlotsReader reader(view, serviceId, Extent::RESTLESS, view.now() - RECENT_FAILURE_NS);
  while (reader.read()) co_await others();
  auto slots = reader.take();
  co_await judgeOwn(view, serviceId, slots);
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
    bool limited = group.spec.getPlacement().getMaxReplicasPerNode() > 0;
    if (!limited && !takesHostPort(group.ports)) group.leaving = aboutToLeave(slots);
    bool more = co_await placeGroup(view, group);
    unfinished |= more;
  }
  co_return unfinished;
}

// Those that could take a task; false if none has room for one.
bool Scheduling::choose(const View& view, const NodeBook::Set& set, Group& group) {
  group.candidates = set.bits;
  Neighbours neighbours(view, group.serviceId, group.spec);
  takeWishes(set, neighbours, group);
  neighbours.narrow(group.candidates);
  if (neighbours.waits()) lonely.insert(group.serviceId);
  bool all = hasOwnLimits(group.spec, group.ports);
  bool any = false;
  for (size_t i = 0; i < group.candidates.size() && (all || !any); ++i) {
    for (uint64_t left = group.candidates[i]; left != 0 && (all || !any); left &= left - 1) {
      auto node = static_cast<uint32_t>(i * 64 + std::countr_zero(left));
      KJ_IF_MAYBE (refusal, book.refusal(view, set, group.wanted(), node, neighbours)) {
        // A strategy knows nothing of these.
        bool unknown = *refusal == Refusal::HOST_PORT || *refusal == Refusal::GENERIC;
        if (unknown) group.candidates[i] &= ~(left & -left);
      } else {
        any = true;
      }
    }
  }
  return any;
}

void Scheduling::takeWishes(const NodeBook::Set& set, const Neighbours& neighbours, Group& group) {
  group.wishes = set.wishes;
  group.isAlone = neighbours.isAwayFromOwn();
  group.isFirst = neighbours.isFirstOfOwn();
  neighbours.eachWish(set.bits.size(), [&](uint32_t weight, std::vector<uint64_t> bits) {
    group.wishes.push_back({weight, std::move(bits)});
  });
}

Task<bool> Scheduling::placeGroup(View& view, Group& group) {
  auto set = co_await judge(view, group.serviceId, group.spec);
  if (!choose(view, *set, group)) {
    auto why = whyNone(book.explain(view, *set, group.wanted()));
    bool more = co_await explainFrom(view, group, 0, kj::mv(why));
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
    if (group.asked.size() < (group.isFirst ? 1 : MAX_CHANGED_PER_PASS))
      group.asked.push_back(task.id());
    newestNs = std::max(newestNs, task.getMeta().getCreatedAtNs());
  }
  // What it failed with before a task was there says nothing of this one.
  bool asks = view.now() >= strategy.downUntilNs || newestNs > strategy.failedAtNs;
  // A second time if its plugin was restarted: the table is gone, so another one is opened.
  for (int tries = 0; tries < 2 && asks; ++tries) {
    auto waits = strategy.failed || strategy.slow ? 0 * kj::MILLISECONDS : patience;
    auto table = &tableOf(strategy.told, name);
    co_await tell(view, group.spec, strategy.told, *table);
    auto forked = ask(requestFor(view, group, *table)).promise().fork();
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
    strategy.told = {};
    if (tries > 0) noteFailure(strategy, name, answer->failure);
  }
  view.wakeAt(group.serviceId, strategy.downUntilNs);
  bool more = co_await explainFrom(view, group, 0, strategy.why);
  co_return more;
}

Task<bool> Scheduling::assignAll(View& view, const Group& group, const Nodes& nodes,
                                 std::string strategy) {
  size_t assigned = 0;
  for (size_t first = 0; first < group.asked.size(); first += TASKS_AT_ONCE) {
    co_await others();
    assigned += assign(view, book, group.serviceId, partOf(group.asked, first),
                       partOf(nodes, first), strategy);
  }
  book.catchUp(view);
  noteAssigned(known[strategy].told, nodes, assigned == nodes.size());
  bool all = group.asked.size() == group.tasks.size();
  if (all || assigned > 0) co_return !all;
  // Those that were not asked for wait for the same.
  auto last = KJ_ASSERT_NONNULL(view.task(group.asked.back()));
  bool more =
      co_await explainFrom(view, group, group.asked.size(), text(last.getStatus().getError()));
  co_return more;
}

// The table has taken off what was placed. If all of that came to be it knows what the book does.
void Scheduling::noteAssigned(Told& told, const Nodes& nodes, bool all) {
  if (all) {
    told.loads = book.loadChanges().newest();
    return;
  }
  for (auto node : nodes) {
    if (node < book.limit()) book.touchLoad(node);
  }
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
    noteAssigned(strategy.told, answer->nodes, false);
  }
  for (size_t first = 0; first < tasks.size(); first += TASKS_AT_ONCE) {
    auto ids = partOf(tasks, first);
    submit([this, answer = answer->addRef(), name, serviceId, first,
            ids = TaskIds(ids.begin(), ids.end())](View& view) {
      assign(view, book, serviceId, ids, partOf(answer->nodes, first), name);
    });
  }
  submit([others = kj::mv(others)](View& view) {
    for (auto& id : others) view.touch(id);
  });
}

void Scheduling::noteFailure(Strategy& strategy, const std::string& name, kj::StringPtr reason) {
  strategy.told = {};
  strategy.why = "the strategy '" + name + "' " + shortened(reason).cStr();
  strategy.failedAtNs = env.nowNs();
  strategy.downUntilNs = strategy.failedAtNs + ASK_AGAIN_NS;
  if (!std::exchange(strategy.failed, true)) {
    host.log().warn("manager.strategy-failed, asking again every 5 s",
                    {{"strategy", name.c_str()}, {"reason", reason}});
  }
}

void Scheduling::forget() {
  book.forget();
  images.clear();
  for (auto& strategy : known) strategy.second.told = {};
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
    for (auto node : outcome.value().getNodes()) answer->nodes.push_back(node);
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
  auto request = table.placeRequest();
  fillGroup(view, group, request.initGroup());
  request.setCount(group.asked.size());
  request.setSeed(seedOf(group.tasks[0]));
  return request;
}

schema::PlacementTable::Client& Scheduling::tableOf(Told& told, const std::string& name) {
  KJ_IF_MAYBE (known, told.table) return *known;
  return told.table.emplace(open(name));
}

schema::PlacementTable::Client Scheduling::open(const std::string& name) {
  return host.service<schema::Scheduler>(name.c_str()).openRequest().send().getTable();
}

namespace {
void describe(const NodeBook::Load& load, uint32_t node, schema::NodeLoad::Builder out) {
  auto left = [](uint64_t total, int64_t used) {
    return static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(total) - used));
  };
  out.setId(load.id.c_str());
  out.setNumber(node);
  out.setTotalCpuNanos(load.cpuNanos);
  out.setTotalMemoryBytes(load.memoryBytes);
  out.setAvailableCpuNanos(left(load.cpuNanos, load.held.cpuNanos));
  out.setAvailableMemoryBytes(left(load.memoryBytes, load.held.memoryBytes));
  out.setTasks(std::max<int64_t>(0, load.held.wanted));
}

void tellLoads(const NodeBook& book, std::span<const uint32_t> nodes,
               capnp::Request<schema::PlacementTable::ApplyParams,
                              schema::PlacementTable::ApplyResults>& request) {
  std::vector<uint32_t> there, gone;
  for (auto node : nodes) (book.load(node).there ? there : gone).push_back(node);
  auto loads = request.initChanged(there.size());
  for (uint32_t i = 0; i < there.size(); ++i) describe(book.load(there[i]), there[i], loads[i]);
  auto ids = request.initGone(gone.size());
  for (uint32_t i = 0; i < gone.size(); ++i) ids.set(i, book.load(gone[i]).id.c_str());
}
}  // namespace

// Of the nodes and of the divisions that the spec names what has changed since the last time.
Task<void> Scheduling::tell(const View& view, schema::TaskSpec::Reader spec, Told& told,
                            schema::PlacementTable::Client& table) {
  std::vector<uint32_t> changed;
  book.loadChanges().since(told.loads, [&](uint32_t node) { changed.push_back(node); });
  told.loads = book.loadChanges().newest();
  // A failure shows when it is asked to place something.
  auto send = [](auto&& request) { request.send().ignoreResult().detach([](kj::Exception&&) {}); };
  for (size_t first = 0; first < changed.size(); first += NODES_AT_ONCE) {
    if (first > 0) co_await others();
    auto some = std::span(changed).subspan(first);
    auto request = table.applyRequest();
    tellLoads(book, some.first(std::min(some.size(), NODES_AT_ONCE)), request);
    send(request);
  }
  for (auto label : spec.getPlacement().getSpreadOver()) {
    auto& division = book.divide(view, text(label));
    auto version = std::exchange(told.divisions[division.id], division.version);
    if (version == division.version) continue;
    auto request = table.applyRequest();
    auto out = request.initDivisions(1)[0];
    out.setId(division.id);
    auto branches = out.initBranches(division.branches.size());
    for (uint32_t node = 0; node < branches.size(); ++node) {
      branches.set(node, division.branches[node]);
    }
    send(request);
  }
}

namespace {
struct ServiceOnNode {
  int64_t wanted = 0;
  uint32_t failures = 0;
  uint32_t leaving = 0;
  uint32_t room = UINT32_MAX;
};
}  // namespace

void Scheduling::fillGroup(const View& view, const Group& group,
                           schema::TaskGroup::Builder message) {
  message.setServiceId(group.serviceId.c_str());
  message.setReserveCpuNanos(group.spec.getResources().getReserveCpuNanos());
  message.setReserveMemoryBytes(group.spec.getResources().getReserveMemoryBytes());
  message.setMaxPerNode(group.isAlone ? 1 : group.spec.getPlacement().getMaxReplicasPerNode());
  auto wishes = message.initWishes(group.wishes.size());
  for (uint32_t i = 0; i < wishes.size(); ++i) {
    auto& wish = group.wishes[i];
    wishes[i].setWeight(wish.weight);
    auto bits = wishes[i].initNodes(wish.bits.size());
    for (uint32_t k = 0; k < bits.size(); ++k) bits.set(k, wish.bits[k]);
  }
  auto candidates = message.initCandidates(group.candidates.size());
  for (uint32_t i = 0; i < candidates.size(); ++i) candidates.set(i, group.candidates[i]);
  fillImages(view, group.spec, message);
  std::unordered_map<uint32_t, ServiceOnNode> loads;
  view.eachWanted(group.serviceId,
                  [&](uint32_t node, int64_t wanted) { loads[node].wanted += wanted; });
  for (auto& [nodeId, count] : group.failures) loads[view.numberOf(nodeId)].failures = count;
  for (auto& [nodeId, count] : group.leaving) loads[view.numberOf(nodeId)].leaving = count;
  if (hasOwnLimits(group.spec, group.ports)) {
    eachNode(group.candidates,
             [&](uint32_t node) { loads[node].room = book.room(view, group.wanted(), node); });
  }
  std::erase_if(loads, [&](auto& load) { return !book.has(load.first); });  // they are no more
  auto list = message.initLoads(loads.size());
  uint32_t next = 0;
  for (auto& [node, load] : loads) {
    auto out = list[next++];
    out.setNode(node);
    out.setTasks(std::max<int64_t>(0, load.wanted - load.leaving));
    out.setRecentFailures(load.failures);
    out.setLeaving(load.leaving);
    out.setRoom(load.room);
  }
  auto labels = group.spec.getPlacement().getSpreadOver();
  auto levels = message.initLevels(labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    levels.set(i, book.divide(view, text(labels[i])).id);
  }
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
  auto set = co_await judge(view, group.serviceId, spec);
  Neighbours neighbours(view, group.serviceId, spec);
  takeWishes(*set, neighbours, group);
  group.candidates.resize(book.limit() / 64 + 1, 0);
  for (auto& id : candidates) {
    auto node = view.numberOf(id);
    group.candidates[node / 64] |= uint64_t(1) << node % 64;
  }
  // Of its own: what it says of nodes is to be forgotten.
  auto table = open(strategyOf(spec));
  Told nothing;
  co_await tell(view, spec, nothing, table);
  auto request = table.explainRequest();
  fillGroup(view, group, request.initGroup());
  kj::Promise<capnp::Response<schema::PlacementTable::ExplainResults>> sent = request.send();
  auto asked = env.timer().timeoutAfter(ANSWER_LIMIT, kj::mv(sent));
  auto answer = co_await attempt(kj::mv(asked));
  std::map<std::string, Terms> result;
  if (!answer.ok()) co_return kj::mv(result);
  for (auto node : answer.value().getNodes()) {
    auto& terms = result[view.idOf(node.getNode())];
    for (auto term : node.getTerms()) terms.emplace_back(text(term.getName()), term.getValue());
  }
  co_return kj::mv(result);
}

}  // namespace orch::control::manager
