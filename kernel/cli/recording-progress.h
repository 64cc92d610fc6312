// For the recording server: how far the tasks of a service are.
#pragma once

#include <vector>

#include "orch/schema/cluster.capnp.h"

namespace orch::cli {

inline void fillStates(schema::ServiceProgress::Builder progress,
                       const std::vector<schema::TaskState>& states) {
  uint32_t serving = 0;
  bool ended = states.size() > 0;
  auto tasks = progress.initTasks(states.size());
  for (uint32_t i = 0; i < tasks.size(); ++i) {
    serving += states[i] == schema::TaskState::RUNNING;
    ended &= states[i] == schema::TaskState::COMPLETE;
    tasks[i].setSlot(i + 1);
    tasks[i].setState(states[i]);
    if (states[i] >= schema::TaskState::RUNNING) continue;
    progress.setTrying(true);
    tasks[i].setError(kj::str("no image 'web:1' for web.", i + 1, ".abcdefghijklmnopqrstuvwx", i));
  }
  progress.setServing(serving);
  progress.setAllRun(states.size() == 2 && serving == 2);
  progress.setEnded(ended);
}

}  // namespace orch::cli
