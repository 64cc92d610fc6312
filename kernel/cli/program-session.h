// A program that runs on some node, with this process's stdin, stdout and stderr as its own.
#pragma once

#include "command.h"
#include "orch/schema/runtime.capnp.h"
#include "terminal.h"

namespace orch::cli {

// What `orch` itself answers with if it is not known how the program ended, as docker does.
constexpr int EXIT_UNKNOWN_END = 125;

// Where the program's output goes: one write at a time, on a thread, so that a reader that does not
// read stops the program and nothing else. `begun`: the first of it has come.
struct ProgramOutputHere {
  schema::ProgramOutput::Client client;
  kj::Promise<void> begun;
};
ProgramOutputHere outputHere(Env& env);

struct SessionStyle {
  bool input = false;
  bool terminal = false;       // raw, with its size passed on
  bool forwardSignals = true;  // SIGINT, SIGTERM and SIGQUIT, unless it is in a terminal
  DetachKeys keys;
};

struct LookedAt {
  schema::RunningProgram::Client program;
  SessionStyle style;
};

// To its end, or until the user goes away with his keys; a signal ends it sooner, unless that is
// the program's: it is from the start on, and that is over for whoever has seen its output
// (`begun`). The exit status. The terminal is as it was then.
Task<int> look(Context& context, kj::Promise<LookedAt> starting, kj::Promise<void> begun);

// What `--detach-keys` of the command says; fails with `usage: …`.
DetachKeys detachKeysOf(const Arguments& args);
// Of the terminal that is stdin, if it is one.
void describeSize(schema::TerminalSize::Builder size);

}  // namespace orch::cli
