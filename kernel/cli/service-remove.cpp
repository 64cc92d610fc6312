#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "progress.h"
#include "service-change.h"

namespace orch::cli {

namespace {

using RemoveResults = schema::ClusterControl::RemoveServiceResults;

constexpr Option SERVICE_RM_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the containers are gone"},
    {"-q,--quiet", nullptr, "Print no progress"},
};

struct Gone {
  kj::String name;
  kj::String id;
};

Task<int> removeServices(Context& context) {
  kj::Vector<Gone> gone;
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
    gone.add(Gone{kj::str(name), kj::str(outcome.value().getServiceId())});
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(RemoveResults::Reader(outcome.value())), false));
    } else {
      context.out.line(name);
    }
  }
  if (context.out.json) context.out.documents(documents);
  context.out.flush();
  if (context.args.on("--detach")) co_return context.status;
  for (auto& one : gone) {
    Wait wait;
    wait.id = kj::mv(one.id);
    wait.name = kj::mv(one.name);
    wait.goal = Goal::gone;
    wait.quiet = quiet(context);
    int result = co_await waitFor(context, kj::mv(wait));
    context.status = kj::max(context.status, result);
  }
  co_return context.status;
}

}  // namespace

const Command SERVICE_RM = {.path = "service rm",
                            .operands = "SERVICE...",
                            .help = "Remove one or more services",
                            .options = SERVICE_RM_OPTIONS,
                            .run = removeServices,
                            .interruptible = true};

}  // namespace orch::cli
