#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "output.h"
#include "terminal.h"
#include "usage-frames.h"

namespace orch::cli {

namespace {

constexpr Option STATS_OPTIONS[] = {
    ORCH_USAGE_OPTIONS  //
    {"--format", "FORMAT",
     "Print a table, json, or a template as '{{.Name}} {{.CPUPerc}}' ('table {{.Name}}')"},
    {"-q,--quiet", nullptr, "Print names only"},
};

// So many rows that the heading stays to be seen.
size_t roomFor(Context& context) {
  constexpr size_t LEAST = 5, AROUND = 2;
  bool live = context.out.terminal() && !context.args.on("--no-stream");
  size_t lines = dimensionsOf(STDOUT_FILENO).rows;
  return live && lines > 0 ? kj::max(lines, LEAST + AROUND) - AROUND : SIZE_MAX;
}

void drawTasks(Context& context, UsageFrame::Reader frame) {
  bool lines = context.out.json && !context.args.on("--no-stream");
  if (lines) {
    for (auto task : frame.getTasks()) context.out.wroteJson(capnp::toDynamic(task), true);
    return;
  }
  Listing list(context, usageColumns(anyMissing(frame)));
  size_t room = roomFor(context), shown = 0;
  for (auto task : frame.getTasks()) {
    if (shown++ >= room) break;
    list.row(task.getTask(), capnp::toDynamic(task), usageCells(task));
  }
  list.finish();
  if (frame.getTasks().size() > room) {
    context.out.line("… and ", frame.getTasks().size() - room, " more");
  }
}

Task<int> showStats(Context& context) {
  Listing checked(context, usageColumns(false));  // says early what is wrong with --format
  auto draw = [&context](UsageFrame::Reader frame) { drawTasks(context, frame); };
  return watchUsage(context, context.args.operands(), false, draw);
}

}  // namespace

const Command STATS = {"stats", "[TASK|SERVICE...]",
                       "Show what tasks use, on whatever node they are, until it is interrupted",
                       STATS_OPTIONS, showStats};

}  // namespace orch::cli
