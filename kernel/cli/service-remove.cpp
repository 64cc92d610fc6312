#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "service-change.h"

namespace orch::cli {

namespace {

using RemoveResults = schema::ClusterControl::RemoveServiceResults;

constexpr Option SERVICE_RM_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the containers are gone"},
    {"-q,--quiet", nullptr, "Print no progress"},
};

Task<int> removeServices(Context& context) {
  kj::Vector<Wait> waits;
  kj::Vector<kj::String> documents;
  for (auto& name : context.args.operands()) {
    auto requestId = context.env.newId();
    auto outcome = co_await attempt(
        context.connection.change<RemoveResults>([&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.removeServiceRequest();
          request.setRequestId(requestId);
          request.setId(name);
          return request.send();
        }));
    if (!outcome.ok()) {
      context.failed(outcome.error());
      continue;
    }
    auto& wait = waits.add();
    wait.id = kj::str(outcome.value().getServiceId());
    wait.name = kj::str(name);
    wait.goal = Goal::gone;
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(RemoveResults::Reader(outcome.value())), false));
    } else {
      context.out.line(name);
    }
  }
  if (context.out.json) context.out.documents(documents);
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_RM = {.path = "service rm",
                            .operands = "SERVICE...",
                            .help = "Remove one or more services",
                            .options = SERVICE_RM_OPTIONS,
                            .run = removeServices,
                            .interruptible = true};

}  // namespace orch::cli
