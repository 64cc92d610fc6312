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
  printTasks(context, kj::mv(tasks), nodeNames(names.getNodes()), own);
  co_return 0;
}

Task<int> inspectTasks(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto ask = [&](kj::StringPtr name) {
    auto request = cluster.taskRequest();
    request.setId(name);
    return request.send();
  };
  auto get = [](auto& response) { return response.getTask(); };
  co_return co_await inspectEach(context, ask, get);
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
