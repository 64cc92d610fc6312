#include <capnp/message.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "service-change.h"
#include "service-options.h"
#include "service-spec.h"

namespace orch::cli {

namespace {

using CreateResults = schema::ClusterControl::CreateServiceResults;

Task<int> createService(Context& context) {
  capnp::MallocMessageBuilder message;
  auto spec = message.initRoot<schema::ServiceSpec>();
  applyOptions(context.args, spec, [](kj::StringPtr name) { return getenv(name.cStr()); });
  applyOperands(context.args.operands(), spec);
  if (spec.getName().size() == 0) spec.setName(inventedName(context.env.random()));

  uint64_t verify = verifyMs(context.args);

  capnp::MallocMessageBuilder auth;
  auto login = auth.initRoot<schema::RegistryLogin>();
  addLogin(context, spec.getTask().getContainer().getImage(), login);
  auto requestId = context.env.newId();
  auto response = co_await context.connection.change<CreateResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.createServiceRequest();
        request.setRequestId(requestId);
        request.setSpec(spec.asReader());
        request.setLogin(login.asReader());
        request.setResolveImage(!context.args.on("--no-resolve-image"));
        return request.send();
      });
  auto service = response.getService();
  printWarnings(context.out, response.getWarnings());
  CreateResults::Reader answer = response;
  if (!context.out.wroteJson(capnp::toDynamic(answer))) context.out.line(service.getMeta().getId());
  kj::Vector<Wait> waits;
  if (!hasAim(service)) co_return co_await finishChange(context, kj::mv(waits));
  auto& wait = waits.add();
  wait.id = kj::str(service.getMeta().getId());
  wait.name = kj::str(service.getSpec().getName());
  wait.verifyMs = verify;
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_CREATE = {.path = "service create",
                                .operands = "IMAGE [COMMAND] [ARG...]",
                                .help = "Create a new service",
                                .options = serviceCreateOptions(),
                                .run = createService,
                                .stopsAtOperand = true,
                                .interruptible = true};

}  // namespace orch::cli
