#include "serve/progress.h"

#include "decide/job-run.h"
#include "decide/mode.h"
#include "decide/spec-change.h"
#include "decide/updater.h"
#include "orch/fail.h"
#include "serve/obstacles.h"
#include "serve/unanswered.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr size_t MAX_WAITERS = 10'000;
// A service that has more slots is told of by counts, and by those of its slots that are not as
// they should be, so many at most.
constexpr size_t EACH_TOLD = 100;
constexpr size_t MOST_TOLD = 1'000;

bool onDownNode(const View& view, const TaskReader& task) {
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    return isDown(*node);
  }
  return false;
}

// What to say of a slot that is not as it should be; empty if nothing is known. What an earlier
// spec failed with says nothing of this one.
std::string errorOf(const View& view, CurrentSpec& current, const Slot& slot) {
  auto task = representative(slot);
  if (onDownNode(view, task)) {
    auto node = KJ_ASSERT_NONNULL(view.node(manager::view(task.getNodeId())));
    return "node '" + text(node.getDescription().getHostname()) + "' is down";
  }
  // What it finds no node for may be what its old one still has.
  int64_t givenUpNs = NEVER_NS;
  if (isUnplaced(task) && !othersStopped(view, slot, {}, givenUpNs)) return {};
  auto told = [&](const TaskReader& task) {
    return current.matches(task) ? text(task.getStatus().getError()) : std::string();
  };
  if (task.getStatus().getError().size() > 0) return told(task);
  if (isRunning(task)) return {};
  // It waits to be tried again: the reason is what became of the last one.
  for (auto older = slot.tasks.rbegin(); older != slot.tasks.rend(); ++older) {
    if (text(older->getMeta().getId()) == text(task.getRestartOf())) return told(*older);
  }
  return {};
}

struct Sum {
  uint32_t running = 0;
  uint32_t settled = 0;  // slots that are as they should be
  uint32_t up = 0;       // slots whose task runs, of whatever spec
  uint32_t completed = 0;
  uint32_t trying = 0;
  uint32_t stopping = 0;
  bool stuck = false;
  std::string problem;  // the newest, or that of the first slot that is stuck
  int64_t problemNs = 0;
};

// Why the slot will not get there by itself; empty if it may.
std::string obstacleOf(const View& view, CurrentSpec& current, const Slot& slot, Room& room) {
  bool job = isJob(current.service().getSpec());
  if (stateOf(view, slot) == SlotState::DONE) {
    return job ? whyGivenUp(slot) : text(representative(slot).getStatus().getError());
  }
  // A job that has so many attempts comes to its end by itself.
  bool ends = job && current.service().getSpec().getTask().getRestart().getMaxAttempts() > 0;
  auto why = ends ? std::string() : whyNeverStays(current, slot);
  return why.empty() ? whyOldIsInTheWay(view, current.service(), slot, room) : why;
}

void addProblem(schema::Service::Reader service, const Slot& slot, const std::string& error,
                bool stuck, Sum& sum) {
  auto task = representative(slot);
  int64_t atNs = std::max(task.getMeta().getCreatedAtNs(), task.endedAtNs());
  bool shown = stuck ? !sum.stuck : !sum.stuck && atNs >= sum.problemNs;
  sum.stuck |= stuck;
  if (!shown || error.empty()) return;
  sum.problemNs = atNs;
  sum.problem = "task " + text(service.getSpec().getName()) + "." + nameOf(slot.key) + ": " + error;
}

void addSlot(const View& view, CurrentSpec& spec, const Slot& slot, Claim claim, Room& room,
             Sum& sum, schema::TaskProgress::Builder out) {
  auto task = representative(slot);
  // Where nothing new begins, what there is is what there should be.
  bool job = isJob(spec.service().getSpec());
  bool current = claim == Claim::KEPT || job || !isOutdated(view, spec, task);
  bool runs = isRunning(task) && !onDownNode(view, task);
  bool completed = hasCompleted(view, slot);
  bool settled = current && ((runs && !job) || completed);
  sum.running += runs && current;
  sum.settled += settled;
  sum.up += runs;
  sum.completed += completed;
  out.setSlot(slot.key.number);
  out.setNodeId(slot.key.node.c_str());
  // One that ended and will be tried again sits its delay out.
  bool again = isWanted(task) && isTerminal(task);
  out.setState(job && completed ? TaskState::COMPLETE
               : again          ? TaskState::PENDING
                                : task.getStatus().getState());
  sum.trying += out.getState() < TaskState::RUNNING;
  if (settled) return;
  auto obstacle = obstacleOf(view, spec, slot, room);
  bool stuck = !obstacle.empty() || (stateOf(view, slot) == SlotState::DONE && !completed);
  auto error = obstacle.empty() ? errorOf(view, spec, slot) : obstacle;
  out.setError(error.c_str());
  addProblem(spec.service(), slot, error, stuck, sum);
}

// Those of its tasks that have not stopped yet.
void describeLeaving(const std::vector<TaskReader>& stopping,
                     schema::ServiceProgress::Builder progress) {
  auto list = progress.initTasks(stopping.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setSlot(stopping[i].slot().number);
    list[i].setNodeId(stopping[i].slot().node.c_str());
    list[i].setState(stopping[i].getStatus().getState());
  }
}

std::string whyNowhere(const View& view, schema::Service::Reader service) {
  return whyNone(candidatesFor(view, manager::view(service.getMeta().getId()),
                               service.getSpec().getTask(), service.getPorts()));
}

// Not those that are at rest, of a service that has many.
Slots slotsToTell(const View& view, schema::Service::Reader service) {
  auto id = manager::view(service.getMeta().getId());
  auto stored = view.base().slots(id);
  bool many = stored != nullptr && stored->all().size() > EACH_TOLD;
  if (many && modeOf(service.getSpec()) == &REPLICATED) {
    SlotsReader reader(view, id, Extent::TOLD);
    while (reader.read()) {
    }
    auto slots = reader.take();
    if (!settledMayBeOutdated(view, service, slots)) return slots;
  }
  return view.slots(id);
}

void describeTasks(const View& view, schema::Service::Reader service,
                   const std::vector<std::pair<Claim, const Slot*>>& shown, Sum& sum,
                   schema::ServiceProgress::Builder progress) {
  CurrentSpec spec(service);
  Room room(view, service);
  auto list = progress.initTasks(shown.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    addSlot(view, spec, *shown[i].second, shown[i].first, room, sum, list[i]);
  }
  if (shown.size() <= MOST_TOLD) return;
  auto some = progress.disownTasks();
  auto all = some.getReader();
  auto first = progress.initTasks(MOST_TOLD);
  for (uint32_t i = 0; i < MOST_TOLD; ++i) first.setWithCaveats(i, all[i]);
}

void describeService(const View& view, schema::Service::Reader service, const Slots& slots,
                     uint32_t leaving, schema::ServiceProgress::Builder progress) {
  auto mode = modeOf(service.getSpec());
  Sum sum;
  sum.running = sum.settled = sum.up = slots.settledRunning();
  sum.trying = slots.settled() - slots.settledRunning();
  std::vector<std::pair<Claim, const Slot*>> shown;
  for (auto& slot : slots) {
    for (auto& task : slot.tasks) sum.stopping += !isWanted(task) && !isStopped(view, task);
    if (stateOf(view, slot) == SlotState::DEAD) continue;
    auto claim = mode == nullptr ? Claim::WANTED : mode->claim(view, service, slot.key);
    if (isExpected(claim, slot)) shown.emplace_back(claim, &slot);
  }
  describeTasks(view, service, shown, sum, progress);
  size_t expected = shown.size() + slots.settled();
  uint32_t desired = mode == nullptr ? 0 : mode->desired(view, service);
  if (isByNode(service.getSpec()) && desired == 0) sum.problem = whyNowhere(view, service);
  if (mode == nullptr) {
    sum.stuck = true;
    sum.problem = "this version does not know the service's mode, and leaves it alone";
  }
  auto update = service.getUpdate();
  bool paused = isPaused(update);
  bool updating = isUnderWay(update);
  uint32_t remaining = leaving + sum.stopping;
  progress.setDesired(desired);
  progress.setRunning(sum.running);
  progress.setUpdated(sum.settled);
  progress.setUpdate(update);
  progress.setRemaining(remaining);
  // While it is updated it is not what it was asked to be, though each task runs: the newest have
  // yet to get through the monitor time.
  bool converged = sum.settled == desired && expected == desired && remaining == 0 && !updating &&
                   mode != nullptr;
  bool job = mode != nullptr && mode->job;
  // A job has only to wait for its next run, if it has one.
  if (job) converged = !isUnderWay(service.getJob()) && !sum.stuck && remaining == 0;
  progress.setJob(job);
  progress.setCompleted(sum.completed);
  progress.setVerdict(converged   ? schema::Verdict::CONVERGED
                      : paused    ? schema::Verdict::PAUSED
                      : sum.stuck ? schema::Verdict::STUCK
                                  : schema::Verdict::WORKING);
  progress.setAllRun(sum.up == desired && expected == desired && remaining == 0);
  progress.setServing(sum.up);
  progress.setEnded(sum.completed == expected);
  progress.setTrying(sum.trying > 0);
  bool ownProblem = sum.stuck || !paused;
  progress.setProblem(ownProblem ? capnp::Text::Reader(sum.problem.c_str()) : update.getMessage());
}
}  // namespace

uint32_t runningTasks(const State& state, std::string_view serviceId) {
  auto& service = state.usage().service(serviceId);
  int64_t sum = service.running;
  for (auto node : state.awayNodes()) sum -= service.on(node).running;
  return sum;
}

void describeProgress(const View& view, std::string_view serviceId, uint32_t leftovers,
                      schema::ServiceProgress::Builder progress) {
  auto service = view.service(serviceId);
  Slots slots;
  KJ_IF_MAYBE (known, service) {
    slots = slotsToTell(view, *known);
  } else {
    slots = view.slots(serviceId);
  }
  std::vector<TaskReader> stopping;
  for (auto& task : slots.leaving()) {
    if (!isStopped(view, task)) stopping.push_back(task);
  }
  uint32_t leaving = stopping.size() + slots.leavingUnread() + leftovers;
  KJ_IF_MAYBE (known, service) {
    describeService(view, *known, slots, leaving, progress);
    auto unanswered = unansweredOf(view, known->getSpec());
    auto list = progress.initUnanswered(unanswered.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, unanswered[i].c_str());
  } else {
    describeLeaving(stopping, progress);
    progress.setRemaining(leaving);
    progress.setVerdict(leaving == 0 ? schema::Verdict::GONE : schema::Verdict::STOPPING);
  }
}

kj::Promise<void> ProgressTable::changedSince(std::string serviceId, uint64_t after,
                                              uint32_t timeoutMs) {
  if (timeoutMs == 0 || revisionOf(serviceId) > after || after > sequence) return kj::READY_NOW;
  if (waiting >= MAX_WAITERS) {
    fail(kj::str("the manager has ", MAX_WAITERS,
                 " callers that wait for progress; try again later"));
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters[serviceId].push_back(kj::mv(pair.fulfiller));
  ++waiting;
  return env.timer()
      .timeoutAfter(timeoutMs * kj::MILLISECONDS, kj::mv(pair.promise))
      .catch_([](kj::Exception&&) {})  // the time is up: the caller looks at what there is
      .attach(kj::defer([this, serviceId] {
        --waiting;
        auto it = waiters.find(serviceId);
        if (it == waiters.end()) return;
        std::erase_if(it->second, [](auto& fulfiller) { return !fulfiller->isWaiting(); });
        if (it->second.empty()) waiters.erase(it);
      }));
}

uint64_t ProgressTable::revisionOf(const std::string& serviceId) const {
  auto it = newest.find(serviceId);
  return it == newest.end() ? firstSequence : it->second;
}

uint32_t ProgressTable::leftoversOf(const std::string& serviceId) const {
  auto it = leftovers.find(serviceId);
  return it == leftovers.end() ? 0 : it->second;
}

void ProgressTable::tell(const std::string& serviceId) {
  newest[serviceId] = ++sequence;
  auto it = waiters.find(serviceId);
  if (it != waiters.end()) {
    for (auto& fulfiller : it->second) fulfiller->fulfill();
  }
  // Of a service that is gone nothing more is told, so nothing needs to be kept.
  bool known = serviceId == AUTHORITY ||
               manager.state().find(Kind::SERVICE, serviceId) != nullptr ||
               manager.state().find(Kind::NODE, serviceId) != nullptr ||
               manager.state().slots(serviceId) != nullptr || leftoversOf(serviceId) > 0;
  if (!known) {
    newest.erase(serviceId);
    firstSequence = sequence;
  }
}

void ProgressTable::changing(const Key& key, const Snapshot& before, const Snapshot& after) {
  auto& state = manager.state();
  auto touch = [&](const Snapshot& object) {
    TaskReader task(object);
    touched.insert(text(task.getServiceId()));
    if (isAssigned(task)) touched.insert(text(task.getNodeId()));
  };
  if (key.kind == Kind::SERVICE || key.kind == Kind::NODE) touched.insert(key.id);
  if (key.kind == Kind::CLUSTER || key.kind == Kind::NODE) touched.insert(AUTHORITY);
  if (key.kind == Kind::TASK) touch(after ? after : before);
  if (key.kind == Kind::NODE) {
    for (auto& id : state.tasksOf(key.id)) touch(*state.find(Kind::TASK, id));
  }
}

void ProgressTable::applied() {
  for (auto& id : std::exchange(touched, {})) tell(id);
}

void ProgressTable::reloaded() {
  sequence = std::max(sequence, manager.state().revision) + 1;
  firstSequence = sequence;
  newest.clear();
  touched.clear();
  for (auto& entry : waiters) {
    for (auto& fulfiller : entry.second) fulfiller->fulfill();
  }
}

void ProgressTable::leftover(const std::string& serviceId, int32_t change) {
  auto& count = leftovers[serviceId];
  count += change;
  if (count == 0) leftovers.erase(serviceId);
  if (change < 0) tell(serviceId);
}

}  // namespace orch::control::manager
