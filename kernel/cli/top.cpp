#include <algorithm>
#include <vector>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "listing.h"
#include "output.h"
#include "usage-frames.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr unsigned BUSIEST = 10;

constexpr Option TOP_OPTIONS[] = {
    ORCH_USAGE_OPTIONS  //
    {"-n,--tasks", "NUMBER", "So many of the busiest tasks (default 10)"},
};

constexpr Option PROCESSES_OPTIONS[] = {
    {"--format", "FORMAT", "Print a table, json, or a template as '{{.PID}} {{.Command}}'"},
    {"-q,--quiet", nullptr, "Print pids only"},
};
constexpr Column PROCESS_COLUMNS[] = {
    {"PID", "PID"}, {"User", "USER"}, {"Time", "TIME"}, {"Command", "COMMAND"}, {"PPID", nullptr}};

// `00:01:02`, as ps has it.
kj::String clockText(uint64_t nanoseconds) {
  auto seconds = nanoseconds / 1'000'000'000;
  auto two = [](uint64_t number) { return kj::str(number < 10 ? "0" : "", number); };
  return kj::str(two(seconds / 3600), ":", two(seconds / 60 % 60), ":", two(seconds % 60));
}

Task<int> listProcesses(Context& context) {
  Listing list(context, PROCESS_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.processesRequest();
  request.setId(context.args.operands()[0]);
  auto answer = co_await request.send();
  for (auto process : answer.getProcesses()) {
    auto user =
        process.getUser().size() > 0 ? kj::str(process.getUser()) : kj::str(process.getUid());
    auto pid = kj::str(process.getPid());
    list.row(pid, capnp::toDynamic(process),
             kj::arr(kj::str(pid), kj::mv(user), clockText(process.getCpuNs()),
                     kj::str(process.getCommand()), kj::str(process.getParent())));
  }
  list.finish();
  if (answer.getMore() > 0) {
    context.out.flush();
    context.out.error(kj::str("warning: ", answer.getMore(), " more are not shown"));
  }
  co_return 0;
}

void drawNodes(Output& out, UsageFrame::Reader frame) {
  bool problems = false;
  for (auto node : frame.getNodes()) problems |= node.getMissing().size() > 0;
  Table table;
  auto row = [&](kj::Array<kj::String> cells, kj::StringPtr problem) {
    kj::Vector<kj::String> all;
    for (auto& cell : cells) all.add(kj::mv(cell));
    if (problems) all.add(kj::str(problem));
    table.row(all.releaseAsArray());
  };
  row(kj::arr(kj::str("NODE"), kj::str("TASKS"), kj::str("CPU USED"), kj::str("CPU RESERVED"),
              kj::str("CPUS"), kj::str("MEM USED"), kj::str("MEM RESERVED"), kj::str("MEMORY")),
      "PROBLEM");
  for (auto node : frame.getNodes()) {
    row(kj::arr(kj::str(node.getNode()), kj::str(node.getTasks()),
                coresText(node.getUsedCpuNanos()), coresText(node.getReservedCpuNanos()),
                coresText(node.getCpuNanos()), memoryText(node.getHost().getMemoryBytes()),
                memoryText(node.getReservedMemoryBytes()), memoryText(node.getMemoryBytes())),
        node.getMissing());
  }
  out.table(table);
}

void drawBusiest(Output& out, UsageFrame::Reader frame, size_t most) {
  std::vector<schema::TaskUsage::Reader> tasks;
  for (auto task : frame.getTasks()) tasks.push_back(task);
  std::stable_sort(tasks.begin(), tasks.end(), [](auto& left, auto& right) {
    return left.getCpuNanos() > right.getCpuNanos();
  });
  tasks.resize(std::min(tasks.size(), most));
  if (tasks.empty()) return;
  auto columns = usageColumns(anyMissing(frame));
  auto shown = [&](kj::Array<kj::String> cells) {
    kj::Vector<kj::String> found;
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i].heading != nullptr) found.add(kj::mv(cells[i]));
    }
    return found.releaseAsArray();
  };
  Table table;
  auto headings = KJ_MAP(column, columns) {
    return kj::str(column.heading == nullptr ? "" : column.heading);
  };
  table.row(shown(kj::mv(headings)));
  for (auto& task : tasks) table.row(shown(usageCells(task)));
  out.line();
  out.table(table);
}

Task<int> showTop(Context& context) {
  if (context.args.operands().size() > 0) {
    fail(kj::str("usage: 'orch top' is about nodes; for the processes of a task: 'orch task top ",
                 context.args.operands()[0], "'"));
  }
  size_t most = context.args.given("--tasks")
                    ? parseWhole("--tasks", context.args.text("--tasks"), 0, 10'000)
                    : BUSIEST;
  auto draw = [&context, most](UsageFrame::Reader frame) {
    if (context.out.wroteJson(capnp::toDynamic(frame), !context.args.on("--no-stream"))) return;
    drawNodes(context.out, frame);
    drawBusiest(context.out, frame, most);
  };
  return watchUsage(context, nullptr, true, draw);
}

}  // namespace

const Command TASK_TOP = {"task top", "TASK|SERVICE",
                          "List the processes of a task, on whatever node that is",
                          PROCESSES_OPTIONS, listProcesses};
const Command TOP = {"top", "[TASK]",
                     "Show what nodes have and use, and the busiest tasks, until it is interrupted",
                     TOP_OPTIONS, showTop};

}  // namespace orch::cli
