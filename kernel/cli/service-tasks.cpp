#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "task-table.h"

namespace orch::cli {

namespace {

constexpr Option OPTIONS[] = {ORCH_TASK_OPTIONS};

Task<int> run(Context& context) {
  Filters checked(context.args, {"id", "name", "node", "desired-state"});
  auto cluster = co_await context.connection.cluster();
  auto askNodes = cluster.nodesRequest();
  auto nodes = askNodes.send();
  kj::Vector<capnp::Response<schema::ClusterControl::TasksResults>> answers;
  kj::Vector<schema::Task::Reader> tasks;
  for (auto& name : context.args.operands()) {
    auto askService = cluster.serviceRequest();
    askService.setId(name);
    auto service = co_await askService.send();
    auto request = cluster.tasksRequest();
    request.initFilter().setServiceId(service.getService().getMeta().getId());
    auto answer = co_await request.send();
    for (auto task : answer.getTasks()) tasks.add(task);
    answers.add(kj::mv(answer));
  }
  auto names = co_await kj::mv(nodes);
  printTasks(context.args, context.out, kj::mv(tasks), nodeNames(names.getNodes()),
             context.env.nowNs());
  co_return 0;
}

}  // namespace

const Command SERVICE_PS = {"service ps",
                            "SERVICE...",
                            1,
                            ANY_NUMBER,
                            "List the tasks of one or more services",
                            OPTIONS,
                            run,
                            Operands::service};

}  // namespace orch::cli
