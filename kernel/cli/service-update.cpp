#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "service-change.h"
#include "service-options.h"
#include "service-spec.h"

namespace orch::cli {

namespace {

using UpdateResults = schema::ClusterControl::UpdateServiceResults;

// How often a change is made anew on what somebody else has made of the service meanwhile.
constexpr int MAX_TRIES = 20;
constexpr kj::StringPtr OUT_OF_SEQUENCE = "update out of sequence"_kj;

struct Changed {
  capnp::Response<UpdateResults> response;
  Wait wait;  // for what was asked
};

const char* environment(kj::StringPtr name) { return getenv(name.cStr()); }

// What there is to wait for, from what the service was and what it has become.
Wait waitBetween(schema::Service::Reader before, schema::Service::Reader after) {
  using State = schema::UpdateStatus::State;
  Wait wait;
  wait.id = kj::str(after.getMeta().getId());
  wait.name = kj::str(after.getSpec().getName());
  auto was = before.getUpdate();
  auto is = after.getUpdate();
  if (was.getState() == State::PAUSED) wait.pausedBeforeNs = was.getStartedAtNs();
  bool begun = is.getState() != State::NONE && is.getStartedAtNs() != was.getStartedAtNs();
  if (begun) wait.updateNs = is.getStartedAtNs();
  return wait;
}

uint32_t replicasOf(schema::ServiceSpec::Reader spec) {
  auto mode = spec.getMode();
  return mode.isReplicated() ? mode.getReplicated().getReplicas() : 0;
}

// Reads the service, changes it as the flags say and sends it. The flags are a difference, so it is
// done again if somebody else was faster.
Task<Changed> change(Context& context, uint64_t verify) {
  auto cluster = co_await context.connection.cluster();
  for (int tries = 1;; ++tries) {
    auto ask = cluster.serviceRequest();
    ask.setId(context.args.operands()[0]);
    auto before = co_await ask.send();

    capnp::MallocMessageBuilder message;
    message.setRoot(before.getService().getSpec());
    auto spec = message.getRoot<schema::ServiceSpec>();
    auto absent = applyOptions(context.args, spec, environment);

    capnp::MallocMessageBuilder auth;
    auto login = auth.initRoot<schema::RegistryLogin>();
    addLogin(context, spec.getTask().getContainer().getImage(), login);
    auto requestId = context.env.newId();
    auto meta = before.getService().getMeta();
    auto outcome = co_await attempt(
        context.connection.change<UpdateResults>([&](schema::ClusterControl::Client& client) {
          auto request = client.updateServiceRequest();
          request.setRequestId(requestId);
          request.setId(meta.getId());
          request.setVersion(meta.getVersion());
          request.setSpec(spec.asReader());
          request.setLogin(login.asReader());
          request.setResolveImage(context.args.given("--image") &&
                                  !context.args.on("--no-resolve-image"));
          return request.send();
        }));
    if (!outcome.ok()) {
      bool again = plainText(outcome.error()).startsWith(OUT_OF_SEQUENCE) && tries < MAX_TRIES;
      if (!again) kj::throwFatalException(kj::mv(outcome.error()));
      continue;
    }
    for (auto& text : absent) {
      context.out.error(kj::str("warning: ", text, " names nothing of the service"));
    }
    auto wait = waitBetween(before.getService(), outcome.value().getService());
    bool scaled = replicasOf(before.getService().getSpec()) !=
                  replicasOf(message.getRoot<schema::ServiceSpec>());
    // Without new tasks there is nothing to look at.
    wait.verifyMs = scaled || wait.updateNs != 0 ? verify : 0;
    co_return Changed{kj::mv(outcome.value()), kj::mv(wait)};
  }
}

Task<int> updateService(Context& context) {
  // Wrong values are refused before anything is asked.
  {
    capnp::MallocMessageBuilder scratch;
    applyOptions(context.args, scratch.initRoot<schema::ServiceSpec>(), environment);
  }
  uint64_t verify = verifyMs(context.args);
  auto changed = co_await change(context, verify);
  printWarnings(context.out, changed.response.getWarnings());
  UpdateResults::Reader answer = changed.response;
  if (!context.out.wroteJson(capnp::toDynamic(answer))) context.out.line(changed.wait.name);
  kj::Vector<Wait> waits;
  if (hasAim(changed.response.getService())) waits.add(kj::mv(changed.wait));
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_UPDATE = {.path = "service update",
                                .operands = "SERVICE",
                                .help = "Update a service",
                                .options = serviceUpdateOptions(),
                                .run = updateService,
                                .interruptible = true};

}  // namespace orch::cli
