#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "inspect.h"

namespace orch::cli {

namespace {

Task<int> run(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.serviceRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      inspection.found(capnp::toDynamic(response.value().getService()));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

}  // namespace

const Command SERVICE_INSPECT = {"service inspect",
                                 "SERVICE...",
                                 1,
                                 ANY_NUMBER,
                                 "Show all that is known of one or more services",
                                 INSPECT_OPTIONS,
                                 run,
                                 Operands::service};

}  // namespace orch::cli
