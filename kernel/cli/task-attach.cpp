#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "program-session.h"

namespace orch::cli {

namespace {

constexpr Option ATTACH_OPTIONS[] = {
    {"--no-stdin", nullptr, "Only look on: pass no input"},
    {"--sig-proxy", nullptr,
     "Pass SIGINT, SIGTERM and SIGQUIT on to the task; so it is unless it is --sig-proxy=false"},
    {"--detach-keys", "KEYS", "Keys that leave the task to itself (default ctrl-p,ctrl-q)"},
};

// Who has typed it at a terminal would wonder why nothing happens, or too much.
void sayHow(Context& context, kj::StringPtr task, const SessionStyle& style, bool takesInput) {
  if (style.terminal || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) return;
  auto why = takesInput ? kj::String()
                        : kj::str(
                              "; it takes no input, as its service was created without "
                              "--interactive and --tty");
  auto keys = style.forwardSignals ? "ctrl-c is passed on to it and may end it; --sig-proxy=false "
                                     "makes it leave the task to itself"
                                   : "ctrl-c leaves it to itself";
  context.out.error(kj::str("attached to ", task, why, "; ", keys));
}

Task<int> taskAttach(Context& context) {
  const Arguments& args = context.args;
  SessionStyle style;
  style.keys = detachKeysOf(args);
  style.input = !args.on("--no-stdin");
  style.forwardSignals = !args.given("--sig-proxy") || args.on("--sig-proxy");
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.attachRequest();
  request.setId(args.operands()[0]);
  request.setInput(style.input);
  if (style.input) describeSize(request.initSize());
  auto output = outputHere(context.env);
  request.setOutput(kj::mv(output.client));
  auto starting = request.send().then([&context, style = kj::mv(style)](auto answer) mutable {
    style.input = style.input && answer.getTakesInput();
    style.terminal = answer.getTerminal() && style.input && isatty(STDIN_FILENO);
    sayHow(context, answer.getTask(), style, answer.getTakesInput());
    return LookedAt{answer.getRunning(), kj::mv(style)};
  });
  co_return co_await look(context, kj::mv(starting), kj::mv(output.begun));
}

}  // namespace

const Command TASK_ATTACH = {
    "task attach", "TASK|SERVICE",
    "See what a task writes from now on, and write to it, on whatever node that is", ATTACH_OPTIONS,
    taskAttach};

}  // namespace orch::cli
