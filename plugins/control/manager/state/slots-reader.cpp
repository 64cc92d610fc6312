#include "state/slots-reader.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
void sortByAge(std::vector<TaskReader>& tasks) {
  std::sort(tasks.begin(), tasks.end(), [](auto& a, auto& b) {
    return a.getMeta().getCreatedAtNs() < b.getMeta().getCreatedAtNs();
  });
}

void add(Slot& slot, const TaskReader& task) {
  bool leaves = task.getDesired() == schema::TaskState::REMOVE;
  (leaves ? slot.leaving : slot.tasks).push_back(task);
}
}  // namespace

SlotsReader::SlotsReader(const View& view, std::string_view service, Extent extent,
                         int64_t failedSinceNs)
    : view(view),
      serviceId(service),
      extent(extent),
      changed(view.changedTasksOf(service)),
      stored(view.base().slots(service)) {
  if (changed != nullptr) {
    for (auto& id : *changed) {
      KJ_IF_MAYBE (task, view.task(id)) add(inPass[task->slot()], *task);
    }
  }
  for (auto& slot : inPass) chosen.push_back(slot.first);
  if (stored != nullptr) nextStored = stored->all().begin();
  if (stored != nullptr && extent != Extent::ALL) choose(failedSinceNs);
}

void SlotsReader::choose(int64_t failedSinceNs) {
  auto& restless = stored->restless();
  chosen.insert(chosen.end(), restless.begin(), restless.end());
  auto& troubled = stored->troubled();
  if (extent == Extent::TOLD) chosen.insert(chosen.end(), troubled.begin(), troubled.end());
  if (changed != nullptr) {
    for (auto& id : *changed) {
      auto before = view.base().find(Kind::TASK, id);
      if (before != nullptr) chosen.push_back(TaskReader(*before).slot());
    }
  }
  for (auto& node : view.base().unwellSlots(serviceId)) {
    for (auto& slot : node.second) chosen.push_back(slot.first);
  }
  for (auto& nodeId : view.changedNodes()) addOnNode(nodeId);
  auto& failures = stored->failures();
  for (auto it = failures.lower_bound({failedSinceNs, {}}); it != failures.end(); ++it) {
    chosen.push_back(it->second);
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
}

void SlotsReader::addOnNode(std::string_view nodeId) {
  for (auto& id : view.base().tasksOf(nodeId)) {
    TaskReader task(*view.base().find(Kind::TASK, id));
    if (manager::view(task.getServiceId()) == serviceId) chosen.push_back(task.slot());
  }
}

bool SlotsReader::read() {
  size_t left = TASKS_AT_ONCE;
  auto took = [&](size_t tasks) { left -= std::min(left, tasks); };
  if (stored != nullptr && extent == Extent::ALL) {
    for (; nextStored != stored->all().end() && left > 0; ++nextStored) {
      auto& key = nextStored->first;
      while (nextChosen < chosen.size() && chosen[nextChosen] < key) {
        took(readSlot(chosen[nextChosen++], nullptr));
      }
      if (nextChosen < chosen.size() && chosen[nextChosen] == key) ++nextChosen;
      took(readSlot(key, &nextStored->second));
    }
    if (nextStored != stored->all().end()) return true;
  }
  while (nextChosen < chosen.size() && left > 0) {
    auto& key = chosen[nextChosen++];
    took(readSlot(key, stored == nullptr ? nullptr : stored->find(key)));
  }
  return nextChosen < chosen.size();
}

// Answers how many tasks it has.
size_t SlotsReader::readSlot(const SlotKey& key, const ServiceSlots::Entry* entry) {
  Slot slot{key, {}, {}};
  if (entry != nullptr) {
    auto& standing = entry->standing;
    bool settled = standing.rest == ServiceSlots::Rest::SETTLED;
    slots.settledRead += settled;
    slots.runningRead += settled && standing.runs;
    slots.leavingRead += standing.leaving;
    if (standing.rest == ServiceSlots::Rest::COMPLETED) ++slots.completedRead[standing.iteration];
    for (auto object : entry->tasks) {
      TaskReader task(*object);
      bool isChanged = changed != nullptr &&
                       changed->find(manager::view(task.getMeta().getId())) != changed->end();
      if (!isChanged) add(slot, task);
    }
  }
  auto now = inPass.find(key);
  if (now != inPass.end()) {
    for (auto& task : now->second.tasks) slot.tasks.push_back(task);
    for (auto& task : now->second.leaving) slot.leaving.push_back(task);
  }
  size_t tasks = slot.tasks.size() + slot.leaving.size();
  auto& leaving = slots.leavingTasks;
  leaving.insert(leaving.end(), slot.leaving.begin(), slot.leaving.end());
  view.lookAtSlot();
  if (slot.tasks.empty()) return tasks;
  sortByAge(slot.tasks);
  slots.slots.push_back(kj::mv(slot));
  return tasks;
}

uint32_t Slots::firstUnsettled(uint32_t number) const {
  if (all || stored == nullptr) return number;
  auto key = std::lower_bound(readKeys.begin(), readKeys.end(), SlotKey{number, {}});
  uint32_t free = stored->settledNumbers().firstWithout(number);
  return key == readKeys.end() ? free : std::min(free, key->number);
}

uint32_t Slots::completed(uint64_t iteration) const {
  auto run = stored == nullptr ? nullptr : stored->completed(iteration);
  if (run == nullptr) return 0;
  auto read = completedRead.find(iteration);
  return run->count - (read == completedRead.end() ? 0 : read->second);
}

uint32_t Slots::firstToDo(uint64_t iteration, uint32_t number) const {
  auto run = stored == nullptr ? nullptr : stored->completed(iteration);
  return run == nullptr ? number : run->numbers.firstWithout(number);
}

bool Slots::goBeyond(uint32_t number) const {
  return !all && stored != nullptr && stored->all().rbegin()->first.number > number;
}

std::vector<TaskReader> Slots::leavingUnread(const SlotKey& key) const {
  std::vector<TaskReader> tasks;
  if (stored == nullptr || all || std::binary_search(readKeys.begin(), readKeys.end(), key)) {
    return tasks;
  }
  auto entry = stored->find(key);
  if (entry == nullptr || entry->standing.rest != ServiceSlots::Rest::LEAVING) return tasks;
  for (auto object : entry->tasks) tasks.emplace_back(*object);
  return tasks;
}

bool Slots::settledAreOf(uint64_t specVersion) const {
  if (settled() == 0) return true;
  auto& versions = stored->settledVersions();
  return versions.size() == 1 && versions.begin()->first == specVersion;
}

Slots SlotsReader::take() {
  sortByAge(slots.leavingTasks);
  slots.stored = stored;
  slots.all = extent == Extent::ALL;
  slots.readKeys = kj::mv(chosen);
  return kj::mv(slots);
}

}  // namespace orch::control::manager
