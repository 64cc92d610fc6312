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
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.tasksRequest().send();
  context.connection.noteAge(response);
  kj::Vector<schema::Task::Reader> tasks;
  for (auto task : response.getTasks()) tasks.add(task);
  co_await printTasks(context, filters, kj::mv(tasks));
  co_return 0;
}

}  // namespace

const Command TASK_LS = {"task ls", "", "List tasks", TASK_LS_OPTIONS, listTasks};
const Command TASK_INSPECT = {
    "task inspect", "TASK...", "Show all that is known of one or more tasks", INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::taskRequest,
                     &schema::ClusterControl::TaskResults::Reader::getTask>};

}  // namespace orch::cli
