#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "entry.h"
#include "output.h"
#include "progress.h"
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
  kj::String id;  // once it was scaled
  int64_t pausedBeforeNs = 0;
};

kj::Vector<Wish> readWishes(const Arguments& args) {
  kj::Vector<Wish> wishes;
  for (auto& operand : args.operands()) {
    auto pair = parseLabel("SERVICE=REPLICAS", operand);
    if (operand.findFirst('=') == nullptr) {
      badValue("SERVICE=REPLICAS", operand, "the name of a service, '=' and a number");
    }
    auto count = parseWhole(kj::str("the replicas of '", pair.key, "'"), pair.value, 0, 1'000'000);
    wishes.add(Wish{kj::mv(pair.key), static_cast<uint32_t>(count), kj::String(), 0});
  }
  return wishes;
}

Task<int> scaleServices(Context& context) {
  auto wishes = readWishes(context.args);
  uint64_t verify = verifyMs(context.args);
  kj::Vector<kj::String> documents;
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
    wish.id = kj::str(outcome.value().getService().getMeta().getId());
    auto update = outcome.value().getService().getUpdate();
    if (update.getState() == schema::UpdateStatus::State::PAUSED) {
      wish.pausedBeforeNs = update.getStartedAtNs();
    }
    printWarnings(context.out, outcome.value().getWarnings());
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(ScaleResults::Reader(outcome.value())), false));
    } else {
      context.out.line(wish.service, " scaled to ", wish.replicas);
    }
  }
  if (context.out.json) context.out.documents(documents);
  context.out.flush();
  if (context.args.on("--detach")) co_return context.status;
  for (auto& wish : wishes) {
    if (wish.id.size() == 0) continue;
    Wait wait;
    wait.id = kj::str(wish.id);
    wait.name = kj::str(wish.service);
    wait.quiet = quiet(context);
    wait.verifyMs = verify;
    wait.pausedBeforeNs = wish.pausedBeforeNs;
    int result = co_await waitFor(context, kj::mv(wait));
    context.status = kj::max(context.status, result);
  }
  co_return context.status;
}

}  // namespace

const Command SERVICE_SCALE = {.path = "service scale",
                               .operands = "SERVICE=REPLICAS...",
                               .help = "Scale one or more replicated services",
                               .options = SERVICE_SCALE_OPTIONS,
                               .run = scaleServices,
                               .interruptible = true};

}  // namespace orch::cli
