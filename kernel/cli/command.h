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
};

// For what `--force` does without asking: fails unless the user agrees. As docker, a script is
// asked too.
void checkAgreed(Context& context, kj::StringPtr what);

// What names are completed as.
enum class Operands {
  none,
  service,
  task,
  node,
  network,
  volume,
  image,
  plugin,
  strategy,
  runtime,
  file
};

struct Command {
  const char* path;      // "service create"
  const char* operands;  // "IMAGE [COMMAND] [ARG...]"
  unsigned least;        // operands
  unsigned most;
  const char* help;
  kj::ArrayPtr<const Option> options;
  Task<int> (*run)(Context&);  // the exit status
  Operands kind = Operands::none;
  bool stopsAtOperand = false;  // everything after the first operand is an operand
  bool interruptible = false;   // waits for the cluster: Ctrl-C ends only the wait
};

constexpr unsigned ANY_NUMBER = ~0u;

}  // namespace orch::cli
