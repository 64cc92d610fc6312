// What a node does for its tasks while no manager looks after them: the next of a task that ended,
// if its restart policy has one, and the start of those whose delay is over.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

struct AlonePlan {
  struct Restart {
    std::string ended;
    int64_t startAfterNs = 0;  // 0: at once
    uint32_t restarts = 0;     // of the new one
  };
  std::vector<Restart> restarts;
  std::vector<std::string> due;  // that wait for nothing any more
  int64_t wakeAtNs = INT64_MAX;  // when there is more to do
};

// Pure. `tasks`: all that the node has, by id, with its own word of their statuses. A slot whose
// next task has been given to the node already is left to that one.
AlonePlan planAlone(const std::map<std::string, schema::Task::Reader>& tasks, int64_t nowNs);

}  // namespace orch::control::agent
