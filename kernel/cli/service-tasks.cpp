#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "task-table.h"

namespace orch::cli {

namespace {

constexpr Option SERVICE_PS_OPTIONS[] = {ORCH_TASK_OPTIONS};

Task<int> listServiceTasks(Context& context) {
  auto filters = taskFilters(context.args);
  auto cluster = co_await context.connection.cluster();
  kj::Vector<capnp::Response<schema::ClusterControl::TasksResults>> answers;
  kj::Vector<schema::Task::Reader> tasks;
  for (auto& name : context.args.operands()) {
    auto askService = cluster.serviceRequest();
    askService.setId(name);
    auto service = co_await attempt(askService.send());
    if (!service.ok()) {
      context.failed(service.error());
      continue;
    }
    auto request = cluster.tasksRequest();
    request.initFilter().setServiceId(service.value().getService().getMeta().getId());
    auto answer = co_await request.send();
    context.connection.noteAge(answer);
    for (auto task : answer.getTasks()) tasks.add(task);
    answers.add(kj::mv(answer));
  }
  co_await printTasks(context, filters, kj::mv(tasks));
  co_return context.status;
}

}  // namespace

const Command SERVICE_PS = {"service ps", "SERVICE...", "List the tasks of one or more services",
                            SERVICE_PS_OPTIONS, listServiceTasks};

}  // namespace orch::cli
