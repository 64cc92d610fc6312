#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "human.h"
#include "inspect.h"
#include "pretty.h"

namespace orch::cli {

namespace {

// What its update does comes first: it is what one looks for.
kj::String prettyService(schema::Service::Reader service, int64_t nowNs) {
  auto update = service.getUpdate();
  if (update.getState() == schema::UpdateStatus::State::NONE) {
    return pretty(capnp::toDynamic(service));
  }
  capnp::MallocMessageBuilder message;
  message.setRoot(service);
  message.getRoot<schema::Service>().disownUpdate();
  auto state = capnp::DynamicEnum(update.getState());
  auto rest = pretty(capnp::toDynamic(message.getRoot<schema::Service>().asReader()));
  auto ended = update.getCompletedAtNs() == 0
                   ? kj::String()
                   : kj::str("  ", sinceText("Completed:", update.getCompletedAtNs(), nowNs), "\n");
  return kj::str("Update:\n  State: ", state, "\n  ",
                 sinceText("Began:", update.getStartedAtNs(), nowNs), "\n", ended,
                 "  Message: ", update.getMessage(), "\n", rest);
}

Task<int> inspectServices(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.serviceRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      auto service = response.value().getService();
      if (inspection.asPretty()) {
        inspection.add(prettyService(service, context.env.nowNs()));
      } else {
        inspection.found(capnp::toDynamic(service));
      }
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

}  // namespace

const Command SERVICE_INSPECT = {"service inspect", "SERVICE...",
                                 "Show all that is known of one or more services", INSPECT_OPTIONS,
                                 inspectServices};

}  // namespace orch::cli
