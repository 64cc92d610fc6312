#include "progress.h"

#include "orch/fail.h"
#include "slot-rules.h"
#include "updater.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr size_t MAX_WAITERS = 10'000;

bool isDown(const View& view, schema::Task::Reader task) {
  KJ_IF_MAYBE (node, view.node(manager::view(task.getNodeId()))) {
    return node->getState() == schema::Node::State::DOWN;
  }
  return false;
}

// What to say of a slot that is not as it should be; empty if nothing is known.
std::string errorOf(const View& view, const Slot& slot) {
  auto task = representative(slot);
  if (isDown(view, task)) {
    auto node = KJ_ASSERT_NONNULL(view.node(manager::view(task.getNodeId())));
    return "node '" + text(node.getDescription().getHostname()) + "' is down";
  }
  if (task.getStatus().getError().size() > 0) return text(task.getStatus().getError());
  if (isRunning(task)) return {};
  // It waits to be tried again: the reason is what became of the last one.
  for (auto older = slot.tasks.rbegin(); older != slot.tasks.rend(); ++older) {
    if (text(older->getMeta().getId()) == text(task.getRestartOf())) {
      return text(older->getStatus().getError());
    }
  }
  return {};
}

struct Sum {
  uint32_t running = 0;
  uint32_t settled = 0;  // slots that are as they should be
  uint32_t stopping = 0;
  bool stuck = false;
  std::string problem;
  int64_t problemNs = 0;
};

void addSlot(const View& view, schema::Service::Reader service, const Slot& slot, Sum& sum,
             schema::TaskProgress::Builder out) {
  auto task = representative(slot);
  bool current = !isOutdated(view, service, task);
  bool runs = isRunning(task) && !isDown(view, task);
  auto slotState = stateOf(view, slot);
  bool completed =
      slotState == SlotState::DONE && task.getStatus().getState() == TaskState::COMPLETE;
  sum.running += runs && current;
  sum.settled += current && (runs || completed);
  sum.stuck |= slotState == SlotState::DONE && !completed;
  for (auto& other : slot.tasks) {
    sum.stopping += !isWanted(other) && !isStopped(view, other);
  }
  out.setSlot(slot.number);
  out.setState(task.getStatus().getState());
  auto error = runs && current ? std::string() : errorOf(view, slot);
  out.setError(error.c_str());
  if (!error.empty() && task.getMeta().getUpdatedAtNs() >= sum.problemNs) {
    sum.problemNs = task.getMeta().getUpdatedAtNs();
    sum.problem = "task " + text(service.getSpec().getName()) + "." + std::to_string(slot.number) +
                  ": " + error;
  }
}
}  // namespace

uint32_t runningTasks(const State& state, std::string_view serviceId) {
  int64_t sum = 0;
  for (auto& entry : state.usage().service(serviceId).runningByNode) {
    auto node = state.find(Kind::NODE, entry.first);
    if (node != nullptr && node->as<schema::Node>().getState() != schema::Node::State::DOWN) {
      sum += entry.second;
    }
  }
  return sum;
}

void describeProgress(const View& view, std::string_view serviceId, uint32_t leftovers,
                      schema::ServiceProgress::Builder progress) {
  uint32_t leaving = 0;
  for (auto& task : view.leaving(serviceId)) leaving += !isStopped(view, task);
  auto slots = view.slots(serviceId);
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    Sum sum;
    Slots shown;
    for (auto& slot : slots) {
      if (stateOf(view, slot) != SlotState::DEAD) shown.push_back(slot);
    }
    auto list = progress.initTasks(shown.size());
    for (uint32_t i = 0; i < shown.size(); ++i) addSlot(view, *service, shown[i], sum, list[i]);
    uint32_t desired = service->getSpec().getMode().getReplicated().getReplicas();
    bool paused = service->getUpdate().getState() == schema::UpdateStatus::State::PAUSED;
    progress.setDesired(desired);
    progress.setRunning(sum.running);
    progress.setUpdated(sum.settled);
    progress.setUpdate(service->getUpdate());
    progress.setRemaining(leaving + sum.stopping + leftovers);
    progress.setConverged(sum.settled == desired && shown.size() == desired &&
                          leaving + sum.stopping + leftovers == 0);
    progress.setStuck(!progress.getConverged() && (paused || sum.stuck));
    if (paused) {
      progress.setProblem(service->getUpdate().getMessage());
    } else {
      progress.setProblem(sum.problem.c_str());
    }
  } else {
    progress.setRemoved(true);
    progress.setRemaining(leaving + leftovers);
    progress.setConverged(leaving + leftovers == 0);
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
  bool known = manager.state().find(Kind::SERVICE, serviceId) != nullptr ||
               manager.state().slots(serviceId) != nullptr || leftoversOf(serviceId) > 0;
  if (!known) {
    newest.erase(serviceId);
    firstSequence = sequence;
  }
}

void ProgressTable::changing(const Key& key, const Object* before, const Change& after) {
  if (key.kind == Kind::SERVICE) touched.insert(key.id);
  if (key.kind == Kind::TASK) {
    auto task = after.isDelete() ? before->as<schema::Task>() : after.as<schema::Task>();
    touched.insert(text(task.getServiceId()));
  }
  if (key.kind == Kind::NODE) {
    for (auto& id : manager.state().tasksOf(key.id)) {
      auto task = manager.state().find(Kind::TASK, id)->as<schema::Task>();
      touched.insert(text(task.getServiceId()));
    }
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
