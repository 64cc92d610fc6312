#include "lib/restart-policy.h"

#include <algorithm>

namespace orch::control {

namespace {
constexpr int64_t FIRST_BACKOFF_NS = 100 * NS_PER_MS;
constexpr int64_t MAX_BACKOFF_NS = 30'000 * NS_PER_MS;
constexpr int64_t FORGET_BACKOFF_NS = 60'000 * NS_PER_MS;
}  // namespace

bool allowsRestart(schema::RestartPolicy::Reader policy, schema::TaskState end) {
  switch (policy.getCondition()) {
    case schema::RestartPolicy::Condition::NONE:
      return false;
    case schema::RestartPolicy::Condition::ON_FAILURE:
      return end != schema::TaskState::COMPLETE;
    case schema::RestartPolicy::Condition::ANY:
      break;
  }
  return true;
}

int64_t lifetimeNs(schema::Task::Reader task, schema::TaskStatus::Reader status) {
  int64_t fromNs = std::max(task.getMeta().getCreatedAtNs(), task.getStartAfterNs());
  return status.getEndedAtNs() - std::max(fromNs, status.getRunningAtNs());
}

int64_t restartDelayNs(schema::Task::Reader task, schema::RestartPolicy::Reader policy,
                       schema::TaskStatus::Reader status) {
  int64_t delayMs = policy.getDelayMs();
  if (delayMs >= 0) return delayMs * NS_PER_MS;
  if (task.getRestarts() == 0) return 0;
  // What this one waited, forgotten once it has run for a while.
  if (lifetimeNs(task, status) >= FORGET_BACKOFF_NS) return 0;
  int64_t waitedNs =
      task.getStartAfterNs() == 0 ? 0 : task.getStartAfterNs() - task.getMeta().getCreatedAtNs();
  // Creation times are some nanoseconds late where several tasks were made at once.
  waitedNs = (waitedNs + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;
  return waitedNs <= 0 ? FIRST_BACKOFF_NS : std::min(waitedNs * 2, MAX_BACKOFF_NS);
}

}  // namespace orch::control
