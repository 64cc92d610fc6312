#include "state/service-slots.h"

#include <algorithm>

#include "state/usage.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;

bool isLeaving(const TaskReader& task) { return task.getDesired() == TaskState::REMOVE; }

// One that has its node and should run: what becomes of it is its node's to say.
bool isOnItsWay(const TaskReader& task) {
  return task.getDesired() == TaskState::RUNNING && isAssigned(task) && !isTerminal(task);
}

ServiceSlots::Rest restOf(const std::vector<const Object*>& tasks, const TaskReader& newest) {
  auto all = [&](auto&& rule) {
    return std::all_of(tasks.begin(), tasks.end(),
                       [&](auto object) { return rule(TaskReader(*object)); });
  };
  auto othersOver = [&] {
    return all([&](const TaskReader& task) {
      if (task.getMeta().getId() == newest.getMeta().getId()) return true;
      return !isLeaving(task) && !isWanted(task) && isTerminal(task);
    });
  };
  bool few = tasks.size() <= SETTLED_TASKS;
  if (newest.getIteration() > 0) {
    // Other slots of a job are never at rest: the run that they are of may be over.
    bool completed = newest.slot().number > 0 && !isLeaving(newest) && !isWanted(newest) &&
                     newest.getStatus().getState() == TaskState::COMPLETE;
    return few && completed && othersOver() ? ServiceSlots::Rest::COMPLETED
                                            : ServiceSlots::Rest::NONE;
  }
  if (isLeaving(newest)) {
    bool stay = all([](const TaskReader& task) {
      return isLeaving(task) && isAssigned(task) && !isTerminal(task);
    });
    return stay ? ServiceSlots::Rest::LEAVING : ServiceSlots::Rest::NONE;
  }
  if (!few || !isOnItsWay(newest)) return ServiceSlots::Rest::NONE;
  return othersOver() ? ServiceSlots::Rest::SETTLED : ServiceSlots::Rest::NONE;
}

ServiceSlots::Standing standingOf(const std::vector<const Object*>& tasks) {
  TaskReader newest(*tasks.front());
  int64_t failedAtNs = 0;
  for (auto object : tasks) {
    TaskReader task(*object);
    if (task.getMeta().getCreatedAtNs() > newest.getMeta().getCreatedAtNs()) newest = task;
    auto state = task.getStatus().getState();
    bool failed = state == TaskState::FAILED || state == TaskState::REJECTED;
    if (failed) failedAtNs = std::max(failedAtNs, task.endedAtNs());
  }
  auto rest = restOf(tasks, newest);
  bool runs = isRunning(newest);
  bool troubled =
      rest == ServiceSlots::Rest::SETTLED && !runs && newest.getStatus().getError().size() > 0;
  auto leaving = static_cast<uint32_t>(rest == ServiceSlots::Rest::LEAVING ? tasks.size() : 0);
  return {rest,      newest.getSpecVersion(), newest.getIteration(), runs, troubled, leaving,
          failedAtNs};
}
}  // namespace

void ServiceSlots::add(const SlotKey& key, const Object& task) {
  auto [slot, isNew] = slots.try_emplace(key);
  slot->second.tasks.push_back(&task);
  if (isNew) enter(key, slot->second.standing);
  judge(key, slot->second);
}

void ServiceSlots::remove(const SlotKey& key, const Object& task) {
  auto slot = slots.find(key);
  auto& tasks = slot->second.tasks;
  tasks.erase(std::remove(tasks.begin(), tasks.end(), &task), tasks.end());
  if (!tasks.empty()) return judge(key, slot->second);
  leave(key, slot->second.standing);
  slots.erase(slot);
}

void ServiceSlots::look(const SlotKey& key) {
  auto slot = slots.find(key);
  if (slot != slots.end()) judge(key, slot->second);
}

const ServiceSlots::Entry* ServiceSlots::find(const SlotKey& key) const {
  auto slot = slots.find(key);
  return slot == slots.end() ? nullptr : &slot->second;
}

const ServiceSlots::Run* ServiceSlots::completed(uint64_t iteration) const {
  auto run = runs.find(iteration);
  return run == runs.end() ? nullptr : &run->second;
}

void ServiceSlots::judge(const SlotKey& key, Entry& entry) {
  auto now = standingOf(entry.tasks);
  if (now == entry.standing) return;
  leave(key, entry.standing);
  entry.standing = now;
  enter(key, entry.standing);
}

void ServiceSlots::enter(const SlotKey& key, const Standing& standing) {
  if (standing.rest == Rest::NONE) unsettled.insert(key);
  if (standing.rest == Rest::SETTLED) {
    ++settledCount;
    runningCount += standing.runs;
    ++versions[standing.specVersion];
    if (key.number > 0) numbers.insert(key.number);
  }
  leavingCount += standing.leaving;
  if (standing.troubled) troubles.insert(key);
  if (standing.rest == Rest::COMPLETED) {
    auto& run = runs[standing.iteration];
    run.numbers.insert(key.number);
    ++run.count;
  }
  if (standing.failedAtNs != 0) failed.insert({standing.failedAtNs, key});
}

void ServiceSlots::leave(const SlotKey& key, const Standing& standing) {
  if (standing.rest == Rest::NONE) unsettled.erase(key);
  if (standing.rest == Rest::SETTLED) {
    --settledCount;
    runningCount -= standing.runs;
    if (--versions[standing.specVersion] == 0) versions.erase(standing.specVersion);
    numbers.erase(key.number);
  }
  leavingCount -= standing.leaving;
  if (standing.troubled) troubles.erase(key);
  if (standing.rest == Rest::COMPLETED) {
    auto& run = runs[standing.iteration];
    run.numbers.erase(key.number);
    if (--run.count == 0) runs.erase(standing.iteration);
  }
  if (standing.failedAtNs != 0) failed.erase({standing.failedAtNs, key});
}

}  // namespace orch::control::manager
