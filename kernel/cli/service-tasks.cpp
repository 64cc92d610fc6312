#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "task-table.h"

namespace orch::cli {

namespace {

constexpr Option SERVICE_PS_OPTIONS[] = {ORCH_TASK_OPTIONS};

Task<int> listServiceTasks(Context& context) {
  auto filters = taskFilters(context.args);
  auto own = co_await ownNodeId(context, filters);
  auto cluster = co_await context.connection.cluster();
  auto askNodes = cluster.nodesRequest();
  auto nodes = askNodes.send();
  kj::Vector<capnp::Response<schema::ClusterControl::TasksResults>> answers;
  kj::Vector<schema::Task::Reader> tasks;
  kj::Vector<kj::String> missing;
  for (auto& name : context.args.operands()) {
    auto askService = cluster.serviceRequest();
    askService.setId(name);
    auto service = co_await attempt(askService.send());
    if (!service.ok()) {
      // What there is of the others is shown first.
      if (context.args.operands().size() == 1) kj::throwFatalException(kj::mv(service.error()));
      missing.add(kj::str(plainText(service.error())));
      continue;
    }
    auto request = cluster.tasksRequest();
    request.initFilter().setServiceId(service.value().getService().getMeta().getId());
    auto answer = co_await request.send();
    for (auto task : answer.getTasks()) tasks.add(task);
    answers.add(kj::mv(answer));
  }
  auto names = co_await kj::mv(nodes);
  printTasks(context, kj::mv(tasks), nodeNames(names.getNodes()), own);
  for (auto& why : missing) context.out.error(why);
  co_return missing.size() == 0 ? 0 : 1;
}

}  // namespace

const Command SERVICE_PS = {"service ps",
                            "SERVICE...",
                            1,
                            ANY_NUMBER,
                            "List the tasks of one or more services",
                            SERVICE_PS_OPTIONS,
                            listServiceTasks,
                            Operands::service};

}  // namespace orch::cli
