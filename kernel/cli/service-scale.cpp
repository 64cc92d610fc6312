#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "entry.h"
#include "output.h"
#include "service-change.h"
#include "value.h"

namespace orch::cli {

namespace {

using ScaleResults = schema::ClusterControl::ScaleServiceResults;

constexpr Option SERVICE_SCALE_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the service has converged"},
    {"-q,--quiet", nullptr, "Print no progress"},
    VERIFY_OPTION,
};

struct Wish {
  kj::String service;
  uint32_t replicas;
};

kj::Vector<Wish> readWishes(const Arguments& args) {
  kj::Vector<Wish> wishes;
  for (auto& operand : args.operands()) {
    auto pair = parseLabel("SERVICE=REPLICAS", operand);
    if (operand.findFirst('=') == nullptr) {
      badValue("SERVICE=REPLICAS", operand, "the name of a service, '=' and a number");
    }
    auto count = parseWhole(kj::str("the replicas of '", pair.key, "'"), pair.value, 0, 1'000'000);
    wishes.add(Wish{kj::mv(pair.key), static_cast<uint32_t>(count)});
  }
  return wishes;
}

Task<int> scaleServices(Context& context) {
  auto wishes = readWishes(context.args);
  uint64_t verify = verifyMs(context.args);
  kj::Vector<kj::String> documents;
  kj::Vector<Wait> waits;
  for (auto& wish : wishes) {
    auto requestId = context.env.newId();
    auto outcome = co_await attempt(
        context.connection.change<ScaleResults>([&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.scaleServiceRequest();
          request.setRequestId(requestId);
          request.setId(wish.service);
          request.setReplicas(wish.replicas);
          return request.send();
        }));
    if (!outcome.ok()) {
      context.failed(outcome.error());
      continue;
    }
    Wait wait;
    wait.id = kj::str(outcome.value().getService().getMeta().getId());
    wait.name = kj::str(wish.service);
    wait.verifyMs = verify;
    auto update = outcome.value().getService().getUpdate();
    if (update.getState() == schema::UpdateStatus::State::PAUSED) {
      wait.pausedBeforeNs = update.getStartedAtNs();
    }
    if (hasAim(outcome.value().getService())) waits.add(kj::mv(wait));
    printWarnings(context.out, outcome.value().getWarnings());
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(ScaleResults::Reader(outcome.value())), false));
    } else {
      context.out.line(wish.service, " scaled to ", wish.replicas);
    }
  }
  if (context.out.json) context.out.documents(documents);
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_SCALE = {.path = "service scale",
                               .operands = "SERVICE=REPLICAS...",
                               .help = "Scale one or more replicated services",
                               .options = SERVICE_SCALE_OPTIONS,
                               .run = scaleServices,
                               .interruptible = true};

}  // namespace orch::cli
