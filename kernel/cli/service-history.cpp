#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "human.h"
#include "listing.h"
#include "spec-difference.h"

namespace orch::cli {

namespace {

using Outcome = schema::UpdateStatus::State;

constexpr Option SERVICE_HISTORY_OPTIONS[] = {ORCH_LIST_OPTIONS};
constexpr Column HISTORY_COLUMNS[] = {{"Version", "VERSION"},
                                      {"Created", "CREATED"},
                                      {"Image", "IMAGE"},
                                      {"Changed", "CHANGED"},
                                      {"Outcome", "OUTCOME"}};

// How the update to a spec ended. `next`: of the spec that took its place; 0: none has.
kj::String outcomeText(schema::UpdateStatus::Reader update, uint64_t next) {
  auto message = update.getMessage();
  bool left =
      message.startsWith("update in progress") || message.startsWith("rollback in progress");
  switch (update.getState()) {
    case Outcome::NONE:
      return kj::String();
    case Outcome::UPDATING:
    case Outcome::ROLLBACK_STARTED:
      return next != 0 && left ? kj::str("overtaken by version ", next) : kj::str(message);
    case Outcome::ROLLBACK_COMPLETED:
      return left ? kj::str("rollback completed") : kj::str(message);
    default:
      return kj::str(message);
  }
}

// All of which something is known, that of now among them, each with its spec. The newest first.
capnp::List<schema::PastSpec>::Reader versionsOf(schema::Service::Reader service,
                                                 capnp::MessageBuilder& message) {
  auto past = service.getHistory();
  auto versions = message.initRoot<schema::Service>().initHistory(past.size() + 1);
  auto now = versions[0];
  now.setNumber(past.size() > 0 ? past[0].getNumber() + 1 : 1);
  now.setSpec(service.getSpec());
  now.setSpecVersion(service.getSpecVersion());
  now.setSpecAtNs(service.getSpecAtNs());
  bool own = past.size() == 0 ||
             past[0].getOutcome().getStartedAtNs() != service.getUpdate().getStartedAtNs();
  if (own) now.setOutcome(service.getUpdate());
  for (uint32_t i = 0; i < past.size(); ++i) {
    versions.setWithCaveats(i + 1, past[i]);
    if (!past[i].hasSpec()) versions[i + 1].setSpec(service.getPreviousSpec());
  }
  return versions.asReader();
}

Task<int> showHistory(Context& context) {
  Listing list(context, HISTORY_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.serviceRequest();
  request.setId(context.args.operands()[0]);
  auto answer = co_await request.send();
  capnp::MallocMessageBuilder message;
  auto versions = versionsOf(answer.getService(), message);
  for (uint32_t i = 0; i < versions.size(); ++i) {
    auto version = versions[i];
    auto spec = version.getSpec();
    bool oldest = i + 1 == versions.size();
    auto number = kj::str(version.getNumber());
    auto ago = humanDuration(context.env.nowNs() - version.getSpecAtNs());
    list.row(number, version,
             kj::arr(kj::str(number), kj::str(ago, " ago"),
                     imageText(spec.getTask().getContainer(), context.args.on("--no-trunc")),
                     oldest ? kj::String() : differenceText(versions[i + 1].getSpec(), spec),
                     outcomeText(version.getOutcome(), i == 0 ? 0 : versions[i - 1].getNumber())));
  }
  list.finish();
  co_return 0;
}

}  // namespace

const Command SERVICE_HISTORY = {"service history", "SERVICE",
                                 "List what a service was before, for 'service rollback --to'",
                                 SERVICE_HISTORY_OPTIONS, showHistory};

}  // namespace orch::cli
