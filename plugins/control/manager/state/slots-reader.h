// Reads the tasks of a service slot by slot, some at a time: it may have tens of thousands.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "state/view.h"

namespace orch::control::manager {

// The view must not be changed until it is done.
class SlotsReader final {
 public:
  static constexpr size_t TASKS_AT_ONCE = 2'000;  // in about two milliseconds

  SlotsReader(const View& view, std::string_view serviceId);
  KJ_DISALLOW_COPY(SlotsReader);

  // False when all are read.
  bool read();
  // What View::slots and View::leaving answer.
  Slots takeSlots() { return kj::mv(slots); }
  std::vector<TaskReader> takeLeaving();

 private:
  void finish(Slot slot);

  const View::TaskIds* changed;  // by the pass; null: none
  std::map<SlotKey, Slot> changedSlots;
  std::map<SlotKey, Slot>::iterator nextChanged;
  const State::SlotIndex* stored;  // null: none
  State::SlotIndex::const_iterator nextStored;
  Slots slots;
  std::vector<TaskReader> leaving;
};

}  // namespace orch::control::manager
