// What orchd and the runner say to each other, over a socket that is the runner's stdin. C, as the
// runner is; both are built together.
#pragma once

#include <stdint.h>

enum {
  RUNNER_PROGRAM_FD = 3,            // the runner's own file
  RUNNER_MAX_COMMAND = 128 * 1024,  // bytes of a command's words
  RUNNER_MAX_OUTPUT = 64 * 1024,
};

// Followed by `commandBytes`: the words, each with a zero byte behind it.
struct RunnerRequest {
  uint32_t timeoutMs;
  uint32_t maxOutputBytes;
  uint32_t commandBytes;
};

// Followed by `outputBytes`: the last ones.
struct RunnerAnswer {
  int32_t exitCode;  // 128 + signal if a signal ended it
  uint32_t timedOut;
  uint32_t error;  // errno of the exec that failed; 0: it has run
  uint32_t outputBytes;
};
