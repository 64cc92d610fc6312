// The tasks of one service by slot, and which of the slots there may be something to do about: a
// pass costs what has changed, however many slots there are. What a slot is judged by is its tasks
// alone; what their nodes and the service's spec have to do with it is asked when it is read
// (slots-reader.h).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "state/number-set.h"
#include "state/task-reader.h"

namespace orch::control::manager {

// Of a slot that is settled; as many as a slot keeps by default, so nothing of it is forgotten.
inline constexpr size_t SETTLED_TASKS = 5;

class ServiceSlots final {
 public:
  enum class Rest : uint8_t {
    NONE,      // there may be something to do
    SETTLED,   // one task runs, or is on its way on a node, and all before it have ended
    LEAVING,   // its tasks are to be removed, and have not ended yet
    COMPLETED  // of a job: its newest task has completed, and all before it have ended
  };
  // What is known of a slot by its tasks.
  struct Standing {
    Rest rest = Rest::NONE;
    uint64_t specVersion = 0;  // of the newest task
    uint64_t iteration = 0;    // the same
    bool runs = false;         // the newest one
    bool troubled = false;     // settled, and it says what keeps it from running
    uint32_t leaving = 0;      // tasks, if all of them are
    int64_t failedAtNs = 0;    // when the last one that failed did; 0: none has
    bool operator==(const Standing&) const = default;
  };
  struct Entry {
    std::vector<const Object*> tasks;  // in no order; valid until the object is deleted
    Standing standing;
  };
  using Slots = std::map<SlotKey, Entry>;

  void add(const SlotKey& key, const Object& task);
  void remove(const SlotKey& key, const Object& task);
  // The status of one of its tasks is another.
  void look(const SlotKey& key);

  const Slots& all() const { return slots; }
  const Entry* find(const SlotKey& key) const;
  // Those with Rest::NONE.
  const std::set<SlotKey>& restless() const { return unsettled; }
  size_t settled() const { return settledCount; }
  // Of those how many run, and which say what keeps them from it.
  size_t settledRunning() const { return runningCount; }
  const std::set<SlotKey>& troubled() const { return troubles; }
  // Tasks of slots with Rest::LEAVING.
  size_t leaving() const { return leavingCount; }
  // Numbers of those that are settled.
  const NumberSet& settledNumbers() const { return numbers; }
  // How many are settled by the spec versions of their tasks.
  const std::map<uint64_t, uint32_t>& settledVersions() const { return versions; }
  // Those that are completed in a run of the job; null: none.
  struct Run {
    NumberSet numbers;
    uint32_t count = 0;
  };
  const Run* completed(uint64_t iteration) const;
  // In whichever run.
  bool anyCompleted() const { return !runs.empty(); }
  // Slots by when a task of theirs last failed.
  const std::set<std::pair<int64_t, SlotKey>>& failures() const { return failed; }

 private:
  void judge(const SlotKey& key, Entry& entry);
  void enter(const SlotKey& key, const Standing& standing);
  void leave(const SlotKey& key, const Standing& standing);

  Slots slots;
  std::set<SlotKey> unsettled;
  size_t settledCount = 0;
  size_t runningCount = 0;
  size_t leavingCount = 0;
  std::set<SlotKey> troubles;
  NumberSet numbers;
  std::map<uint64_t, uint32_t> versions;
  std::map<uint64_t, Run> runs;  // by iteration
  std::set<std::pair<int64_t, SlotKey>> failed;
};

}  // namespace orch::control::manager
