// What a command of `orch` is: plain constant data that the parser, the help and the completion
// read, and a function that runs it.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include "orch/env.h"
#include "orch/task.h"

namespace orch::cli {

class Arguments;
class Connection;
class Output;

struct Option {
  const char* names;            // "-e,--env"
  const char* value = nullptr;  // how help calls its value; null: a switch
  const char* help = "";
  bool repeated = false;          // may be given more than once, and all count
  const char* choices = nullptr;  // "any|on-failure|none", if these are all
  const char* group = nullptr;    // heading in help; those of one follow each other
};

// What a command works with; outlives it.
struct Context {
  const Arguments& args;
  Output& out;
  Connection& connection;
  Env& env;
  kj::String waitsFor;  // what Ctrl-C leaves as it is, once the cluster has been told
  int status = 0;       // of a command that goes on after a failure

  // What was asked of an operand: of the only one it is the command's failure and thrown on, of one
  // among several it is told, and makes the status 1.
  void failed(kj::Exception& error);
};

// For what `--force` does without asking: fails unless the user agrees. As docker, a script is
// asked too.
void checkAgreed(Context& context, kj::StringPtr what);

struct Command {
  const char* path;  // "service create"
  const char*
      operands;  // "IMAGE [COMMAND] [ARG...]": says how many, and how the first is completed
  const char* help;
  kj::ArrayPtr<const Option> options;
  Task<int> (*run)(Context&);   // the exit status
  bool stopsAtOperand = false;  // everything after the first operand is an operand
  bool interruptible = false;   // waits for the cluster: Ctrl-C ends only the wait
};

}  // namespace orch::cli
