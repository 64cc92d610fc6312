#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "log-lines.h"
#include "orch/amounts.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option SERVICE_LOGS_OPTIONS[] = {
    {"-f,--follow", nullptr, "Go on with what is written from now on"},
    {"-n,--tail", "LINES", "Only the last lines of each task (default all)"},
    {"--since", "TIME", "From a time on: 10m, 2026-08-03T12:00:00Z, or seconds since 1970"},
    {"-t,--timestamps", nullptr, "Show when each line was written"},
    {"--raw", nullptr, "Do not say whose line it is"},
    {"--no-resolve", nullptr, "Show ids of nodes instead of their names"},
    {"--no-task-ids", nullptr, "Do not show ids of tasks"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};

Task<int> serviceLogs(Context& context) {
  const Arguments& args = context.args;
  LogStyle style;
  style.raw = args.on("--raw");
  style.timestamps = args.on("--timestamps");
  style.taskIds = !args.on("--no-task-ids");
  style.wholeIds = args.on("--no-trunc");
  int64_t tail = -1;
  int64_t since = 0;
  if (args.given("--tail") && args.text("--tail") != "all") {
    auto text = args.text("--tail");
    auto lines = readDigits(view(text));
    if (!lines || *lines > INT32_MAX) badValue("--tail", text, "a number of lines, or all");
    tail = static_cast<int64_t>(*lines);
  }
  if (args.given("--since")) {
    since = parseMomentNs("--since", args.text("--since"), context.env.nowNs());
  }
  auto cluster = co_await context.connection.cluster();
  NodeNames names;
  if (!style.raw && !args.on("--no-resolve")) names = co_await knownNodes(context);
  auto request = cluster.logsRequest();
  request.setId(args.operands()[0]);
  auto options = request.initOptions();
  options.setFollow(args.on("--follow"));
  options.setTail(tail);
  options.setSinceNs(since);
  auto printer = kj::heap<LogPrinter>(context.out, style, kj::mv(names));
  LogPrinter& lines = *printer;
  schema::LogSink::Client sink = kj::mv(printer);
  request.setSink(sink);
  co_await request.send().ignoreResult();
  lines.finish();
  co_return 0;
}

}  // namespace

const Command SERVICE_LOGS = {"service logs", "SERVICE|TASK",
                              "Show the logs of a service, in order of time, or of one task",
                              SERVICE_LOGS_OPTIONS, serviceLogs};

}  // namespace orch::cli
