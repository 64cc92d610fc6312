#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "progress.h"
#include "service-change.h"
#include "service-options.h"
#include "service-spec.h"

namespace orch::cli {

namespace {

using Results = schema::ClusterControl::UpdateServiceResults;

Task<int> run(Context& context) {
  // Wrong values are refused before anything is asked.
  {
    capnp::MallocMessageBuilder scratch;
    applyOptions(context.args, scratch.initRoot<schema::ServiceSpec>(),
                 [](kj::StringPtr name) { return getenv(name.cStr()); });
  }
  auto cluster = co_await context.connection.cluster();
  auto ask = cluster.serviceRequest();
  ask.setId(context.args.operands()[0]);
  auto before = co_await ask.send();

  capnp::MallocMessageBuilder message;
  message.setRoot(before.getService().getSpec());
  auto spec = message.getRoot<schema::ServiceSpec>();
  applyOptions(context.args, spec, [](kj::StringPtr name) { return getenv(name.cStr()); });

  auto requestId = context.env.newId();
  auto meta = before.getService().getMeta();
  auto response =
      co_await context.connection.change<Results>([&](schema::ClusterControl::Client& client) {
        auto request = client.updateServiceRequest();
        request.setRequestId(requestId);
        request.setId(meta.getId());
        request.setVersion(meta.getVersion());
        request.setSpec(spec.asReader());
        return request.send();
      });
  auto name = kj::str(response.getService().getSpec().getName());
  printWarnings(context.out, response.getWarnings());
  if (context.out.json) {
    context.out.document(capnp::toDynamic(Results::Reader(response)));
  } else {
    context.out.line(name);
  }
  context.out.flush();
  if (context.args.on("--detach")) co_return 0;
  co_return co_await waitFor(context, kj::str(meta.getId()), kj::mv(name), Goal::converged,
                             quiet(context));
}

}  // namespace

const Command SERVICE_UPDATE = {
    "service update",  "SERVICE", 1,   1, "Update a service", serviceUpdateOptions(), run,
    Operands::service, false,     true};

}  // namespace orch::cli
