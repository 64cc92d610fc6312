#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "inspect.h"
#include "task-table.h"

namespace orch::cli {

namespace {

constexpr Option TASK_LS_OPTIONS[] = {ORCH_TASK_OPTIONS};

Task<int> listTasks(Context& context) {
  auto filters = taskFilters(context.args);
  auto own = co_await ownNodeId(context, filters);
  auto cluster = co_await context.connection.cluster();
  auto askNodes = cluster.nodesRequest();
  auto nodes = askNodes.send();
  auto request = cluster.tasksRequest();
  auto response = co_await request.send();
  kj::Vector<schema::Task::Reader> tasks;
  for (auto task : response.getTasks()) tasks.add(task);
  auto names = co_await kj::mv(nodes);
  printTasks(context.args, context.out, kj::mv(tasks), nodeNames(names.getNodes()), own,
             context.env.nowNs());
  co_return 0;
}

Task<int> inspectTasks(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.taskRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      inspection.found(capnp::toDynamic(response.value().getTask()));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

}  // namespace

const Command TASK_LS = {"task ls", "", 0, 0, "List tasks", TASK_LS_OPTIONS, listTasks};
const Command TASK_INSPECT = {"task inspect",
                              "TASK...",
                              1,
                              ANY_NUMBER,
                              "Show all that is known of one or more tasks",
                              INSPECT_OPTIONS,
                              inspectTasks,
                              Operands::task};

}  // namespace orch::cli
