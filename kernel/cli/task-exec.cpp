#include <stdlib.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "program-session.h"

namespace orch::cli {

namespace {

constexpr Option EXEC_OPTIONS[] = {
    {"-i,--interactive", nullptr, "Pass this command's input on to the program"},
    {"-t,--tty", nullptr, "Give the program a terminal"},
    {"-d,--detach", nullptr, "Let the program go on by itself once it has been started"},
    {"-e,--env", "KEY=VALUE", "Set an environment variable; KEY alone: as it is here", true},
    {"-u,--user", "USER", "Run it as a user of the container, USER[:GROUP]"},
    {"-w,--workdir", "PATH", "Run it in this folder of the container"},
    {"--detach-keys", "KEYS", "Keys that leave the program to itself (default ctrl-p,ctrl-q)"},
};

// As docker: what is not set here is not set there.
kj::Vector<kj::String> variables(kj::ArrayPtr<const kj::String> given) {
  kj::Vector<kj::String> entries;
  for (auto& entry : given) {
    bool named = entry.size() > 0 && entry[0] != '=';
    if (!named) fail(kj::str("usage: --env '", entry, "' has no name: write KEY=VALUE"));
    if (entry.findFirst('=') != nullptr) {
      entries.add(kj::str(entry));
    } else if (const char* value = getenv(entry.cStr())) {
      entries.add(kj::str(entry, "=", value));
    }
  }
  return entries;
}

void describe(const Arguments& args, schema::Program::Builder program) {
  auto words = args.operands().slice(1, args.operands().size());
  auto command = program.initCommand(words.size());
  for (uint32_t i = 0; i < words.size(); ++i) command.set(i, words[i]);
  auto entries = variables(args.values("--env"));
  auto env = program.initEnv(entries.size());
  for (uint32_t i = 0; i < entries.size(); ++i) env.set(i, entries[i]);
  program.setUser(args.text("--user"));
  program.setWorkdir(args.text("--workdir"));
  program.setInput(args.on("--interactive") && !args.on("--detach"));
  program.setTerminal(args.on("--tty"));
  if (!args.on("--tty")) return;
  describeSize(program.getSize());
}

// Not started: the status says so. Else it is on its own now.
Task<int> leave(Context& context, schema::RunningProgram::Client program) {
  auto letting = program.letGoRequest().send().ignoreResult();
  auto gone = co_await attempt(kj::mv(letting));
  if (gone.ok()) co_return 0;
  auto end = co_await program.waitRequest().send();
  context.out.error(end.getError());
  co_return end.getExitCode();
}

Task<int> taskExec(Context& context) {
  const Arguments& args = context.args;
  SessionStyle style;
  style.keys = detachKeysOf(args);
  style.terminal = args.on("--tty");
  style.input = args.on("--interactive");
  if (style.terminal && style.input && !args.on("--detach") && !isatty(STDIN_FILENO)) {
    fail(kj::str("usage: --tty with --interactive needs a terminal as input; leave out --tty"));
  }
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.execRequest();
  request.setId(args.operands()[0]);
  describe(args, request.initProgram());
  auto output = outputHere(context.env);
  request.setOutput(kj::mv(output.client));
  auto sent = request.send();
  if (args.on("--detach")) {
    auto answer = co_await sent;
    co_return co_await leave(context, answer.getRunning());
  }
  auto starting = sent.then([style = kj::mv(style)](auto answer) mutable {
    return LookedAt{answer.getRunning(), kj::mv(style)};
  });
  co_return co_await look(context, kj::mv(starting), kj::mv(output.begun));
}

}  // namespace

const Command TASK_EXEC = {"task exec",
                           "TASK|SERVICE COMMAND [ARG...]",
                           "Run a program in the container of a task, on whatever node that is",
                           EXEC_OPTIONS,
                           taskExec,
                           true};

}  // namespace orch::cli
