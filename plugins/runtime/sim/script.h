// What a simulated container does, from the SIM_* variables of its environment. Pure.
#pragma once

#include <kj/string.h>
#include <kj/time.h>

#include <string>
#include <vector>

#include "orch/schema/runtime.capnp.h"

namespace orch::runtime::sim {

struct Script {
  kj::Maybe<kj::Duration> run;  // SIM_RUN; null: until it is told to end
  int exitCode = 0;             // SIM_EXIT: of its own end, also upon a signal that it heeds
  bool ignoresTerm = false;     // SIM_IGNORE_TERM=1: only SIGKILL ends it
  kj::Duration createDelay = 0 * kj::NANOSECONDS;  // SIM_CREATE_DELAY
  kj::Duration startDelay = 0 * kj::NANOSECONDS;   // SIM_START_DELAY
  std::string failCreate;                          // SIM_FAIL_CREATE: the reason
  std::string failStart;                           // SIM_FAIL_START
  std::vector<std::string> output;  // SIM_OUTPUT, lines; unset: one line that names the task
  std::vector<std::string> errors;  // SIM_ERRORS
  uint64_t cpuNanos = 0;            // SIM_CPU: billionths of a core that it is busy with, `0.5`
  int64_t memoryBytes = 0;          // SIM_MEMORY: that it has, `1048576`
  std::vector<int> checks = {0};    // SIM_CHECKS: exit codes of the programs that are run in it
};

// Fails with a text that names the variable and what is accepted. Durations are `250ms`, `5s`, `2m`
// or `0`. The container's environment comes before the image's.
Script parseScript(schema::ContainerRequest::Reader request);

}  // namespace orch::runtime::sim
