// What the reconcilers agree on about slots and tasks. Pure.
#pragma once

#include "lib/restart-policy.h"
#include "state/view.h"

namespace orch::control::manager {

enum class SlotState {
  LIVE,  // a task of it should run
  DONE,  // its newest task ended by itself and its restart policy says that it stays ended
  DEAD   // nothing there but history
};
SlotState stateOf(const View& view, const Slot& slot);
// Whether the task came to a good end that its restart policy leaves it at.
bool endedWell(const TaskReader& task);
// Whether the slot is done, and well.
bool hasCompleted(const View& view, const Slot& slot);
// Whether the task is of a run of its job that another has followed.
bool isOfPastRun(const View& view, const TaskReader& task);
// Whether the task has done what its job's run wanted of its slot.
bool completesRun(const View& view, const TaskReader& task);

// Whether the task can hold nothing up any more: it ended, never had a node, or its node is away.
bool isStopped(const View& view, const TaskReader& task);
// Whether its node is there, and drained.
bool isOnDrained(const View& view, const TaskReader& task);
// Whether it cannot stay on its node a moment longer: that is gone, or down for longer than the
// service tolerates, or drained while the task does not run. Otherwise lowers `wakeAtNs` to the
// time when it would have to.
bool mustLeave(const View& view, schema::Service::Reader service, const TaskReader& task,
               int64_t& wakeAtNs);
// Whether a task that should run is newer than the one at `index`.
bool hasNewerWanted(const Slot& slot, size_t index);
// Whether everything in the slot that was asked to end has stopped, or was given up on: a minute
// after its grace period, so that one hung container does not block an update for ever.
// Otherwise lowers `wakeAtNs` to the time when that would be.
bool othersStopped(const View& view, const Slot& slot, std::string_view exceptTaskId,
                   int64_t& wakeAtNs);

// Whether the restart policy allows another task in place of this one. Attempts are counted within
// the window before its end, so that the answer stays the same afterwards.
bool mayRestart(const View& view, const Slot& slot, const TaskReader& task);

// Of one service's tasks, created or asked to end in one pass; the rest comes with the next.
inline constexpr uint32_t MAX_CHANGED_PER_PASS = 1000;

struct NewTask {
  SlotKey slot;
  schema::TaskState desired = schema::TaskState::RUNNING;
  int64_t startAfterNs = 0;
  std::string restartOf;
  uint32_t restarts = 0;
  std::string node;  // that it is for; empty: any
  std::string why;   // it is for that one
};
// A task of the service's current spec, waiting for a node, or for room on the node that is its
// slot. Answers its id.
std::string createTask(View& view, schema::Service::Reader service, const NewTask& task);
void setDesired(View& view, const TaskReader& task, schema::TaskState desired);
// What two tasks of a slot would both need, though there is one of it: then an update is
// stop-first, whatever was asked for. `volume 'data'`, `port 8080 of its node`; empty: nothing.
std::string onlyOneOf(schema::ServiceSpec::Reader spec);
// The slot gets a task of the current spec, in the order of the service's update policy: what runs
// in it is stopped, now or when the new one runs.
void replaceSlot(View& view, schema::Service::Reader service, const Slot& slot);

inline constexpr int64_t NEVER_NS = INT64_MAX;

}  // namespace orch::control::manager
