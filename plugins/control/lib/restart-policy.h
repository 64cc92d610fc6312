// What a restart policy says of a task that ended: the managers act by it, and so does an agent
// that is cut off from them. Pure.
#pragma once

#include "orch/schema/objects.capnp.h"

namespace orch::control {

inline constexpr int64_t NS_PER_MS = 1'000'000;

// Whether the policy replaces what came to such an end; how often it may is not asked here.
bool allowsRestart(schema::RestartPolicy::Reader policy, schema::TaskState end);

// How long a task ran, or was about to, until `status.endedAtNs`.
int64_t lifetimeNs(schema::Task::Reader task, schema::TaskStatus::Reader status);

// How long to wait before the next one: the policy's delay, or the back-off
// (RestartPolicy.delayMs). Of `status` the times count, and none of `task.status`.
int64_t restartDelayNs(schema::Task::Reader task, schema::RestartPolicy::Reader policy,
                       schema::TaskStatus::Reader status);

}  // namespace orch::control
