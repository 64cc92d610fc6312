// Reads the tasks of a service slot by slot, some at a time: it may have tens of thousands.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "state/view.h"

namespace orch::control::manager {

// Which slots are read.
enum class Extent : uint8_t {
  // Those that there may be something to do about: that are not at rest by themselves
  // (service-slots.h), that the pass has changed, or with a task on a node that is away or drained,
  // or that the pass has changed.
  RESTLESS,
  // And those whose task says what keeps it from running.
  TOLD,
  ALL
};

// The view must not be changed until it is done.
class SlotsReader final {
 public:
  static constexpr size_t TASKS_AT_ONCE = 2'000;  // in about two milliseconds

  // With `failedSinceNs` also those in which a task has failed since then.
  SlotsReader(const View& view, std::string_view serviceId, Extent extent,
              int64_t failedSinceNs = INT64_MAX);
  KJ_DISALLOW_COPY(SlotsReader);

  // False when all are read.
  bool read();
  Slots take();

 private:
  void choose(int64_t failedSinceNs);
  void addOnNode(std::string_view nodeId);
  size_t readSlot(const SlotKey& key, const ServiceSlots::Entry* entry);

  const View& view;
  const std::string serviceId;
  const Extent extent;
  const View::TaskIds* changed;    // by the pass; null: none
  std::map<SlotKey, Slot> inPass;  // what these are now
  std::vector<SlotKey> chosen;     // sorted; unless all are read: then those of `inPass`
  size_t nextChosen = 0;
  const ServiceSlots* stored;  // null: none
  ServiceSlots::Slots::const_iterator nextStored;
  Slots slots;
};

}  // namespace orch::control::manager
