// What orchd and the runner say to each other, over a socket that is the runner's stdin. C, as the
// runner is; both are built together.
#pragma once

#include <stdint.h>

enum {
  RUNNER_PROGRAM_FD = 3,  // the runner's own file
  RUNNER_STDIO_FD = 4,    // and the two behind it: of the one program, unless it has a terminal
  RUNNER_MAX_COMMAND = 128 * 1024,  // bytes of a command's words
  RUNNER_MAX_OUTPUT = 64 * 1024,
};

// ---- of one that stays, and runs one program after the other
// -------------------------------------

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

// ---- of one that somebody looks on
// ---------------------------------------------------------------

// As its first argument: it runs one program, and ends with it.
#define RUNNER_ONE_PROGRAM "one-program"

// Followed by `commandBytes`, as above.
struct ProgramRequest {
  uint32_t commandBytes;
  uint32_t terminal;  // it gets one of its own
  uint16_t rows;
  uint16_t columns;
};

// With the terminal's other end as a descriptor beside it.
struct ProgramStarted {
  uint32_t error;       // errno; 0: it runs
  uint32_t noTerminal;  // that is what failed
};

// Any number of them, while it runs.
enum { PROGRAM_SIGNAL = 1, PROGRAM_LET_GO = 2 };
struct ProgramOrder {
  uint32_t order;
  int32_t signal;
};

// Once.
struct ProgramEnded {
  int32_t exitCode;  // 128 + signal if a signal ended it
};
