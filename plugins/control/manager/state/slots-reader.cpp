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

SlotsReader::SlotsReader(const View& view, std::string_view serviceId)
    : changed(view.changedTasksOf(serviceId)), stored(view.base().slots(serviceId)) {
  if (changed != nullptr) {
    for (auto& id : *changed) {
      KJ_IF_MAYBE (task, view.task(id)) add(changedSlots[task->slot()], *task);
    }
  }
  nextChanged = changedSlots.begin();
  if (stored == nullptr) return;
  nextStored = stored->begin();
  slots.reserve(stored->size());
}

bool SlotsReader::read() {
  size_t left = TASKS_AT_ONCE;
  for (; stored != nullptr && nextStored != stored->end() && left > 0; ++nextStored) {
    auto& key = nextStored->first;
    while (nextChanged != changedSlots.end() && nextChanged->first < key) {
      nextChanged->second.key = nextChanged->first;
      finish(kj::mv((nextChanged++)->second));
    }
    Slot slot{key, {}, {}};
    for (auto object : nextStored->second) {
      TaskReader task(*object);
      bool isChanged =
          changed != nullptr && changed->find(view(task.getMeta().getId())) != changed->end();
      if (!isChanged) add(slot, task);
      left -= left > 0;
    }
    if (nextChanged != changedSlots.end() && nextChanged->first == key) {
      for (auto& task : nextChanged->second.tasks) slot.tasks.push_back(task);
      for (auto& task : nextChanged->second.leaving) slot.leaving.push_back(task);
      ++nextChanged;
    }
    finish(kj::mv(slot));
  }
  if (stored != nullptr && nextStored != stored->end()) return true;
  for (; nextChanged != changedSlots.end(); ++nextChanged) {
    nextChanged->second.key = nextChanged->first;
    finish(kj::mv(nextChanged->second));
  }
  return false;
}

void SlotsReader::finish(Slot slot) {
  leaving.insert(leaving.end(), slot.leaving.begin(), slot.leaving.end());
  if (slot.tasks.empty()) return;
  sortByAge(slot.tasks);
  slots.push_back(kj::mv(slot));
}

std::vector<TaskReader> SlotsReader::takeLeaving() {
  sortByAge(leaving);
  return kj::mv(leaving);
}

}  // namespace orch::control::manager
