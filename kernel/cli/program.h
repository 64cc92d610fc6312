// The `orch` program without its main().
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

namespace orch::cli {

constexpr int EXIT_FAILED = 1;
constexpr int EXIT_USAGE = 2;
constexpr int EXIT_INTERRUPTED = 130;

// Runs one command line (without the program's name) and returns the exit status. `host` is what
// ORCH_HOST says, or empty.
int runProgram(kj::Vector<kj::String> words, kj::StringPtr host);

}  // namespace orch::cli
