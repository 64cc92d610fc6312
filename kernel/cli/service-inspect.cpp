#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "human.h"
#include "inspect.h"
#include "pretty.h"

namespace orch::cli {

namespace {

constexpr int64_t NS_PER_US = 1000;

// `2026-08-03T12:00:00Z`
kj::String second(int64_t ns) {
  auto whole = timestamp(ns);
  return kj::str(whole.slice(0, whole.findFirst('.').orDefault(whole.size())), "Z");
}

kj::String pastRun(schema::JobRun::Reader run) {
  auto message = run.getMessage().size() > 0 ? kj::str("; ", run.getMessage()) : kj::String();
  // One that was skipped has no number.
  if (run.getIteration() == 0) {
    return kj::str("    -: due at ", second(run.getStartedAtNs()), message, "\n");
  }
  auto failed = run.getFailed() > 0 ? kj::str(", ", run.getFailed(), " failed") : kj::String();
  auto tookUs = (run.getEndedAtNs() - run.getStartedAtNs()) / NS_PER_US;
  return kj::str("    ", run.getIteration(), ": began at ", second(run.getStartedAtNs()), ", took ",
                 shortDuration(static_cast<uint64_t>(kj::max(tookUs, 0))), ", ", run.getCompleted(),
                 " completed", failed, message, "\n");
}

kj::String prettyJob(schema::JobStatus::Reader job, int64_t nowNs) {
  auto text = kj::str("Job:\n");
  if (job.getIteration() > 0) {
    text = kj::str(text, "  Run: ", job.getIteration(), "\n  ",
                   sinceText("Began:", job.getStartedAtNs(), nowNs), "\n");
    text = job.getEndedAtNs() > 0
               ? kj::str(text, "  ", sinceText("Ended:", job.getEndedAtNs(), nowNs), "\n")
               : kj::str(text, "  Ended: not yet\n");
  }
  if (job.getNextAtNs() > 0) {
    text = kj::str(text, "  Next run: ", second(job.getNextAtNs()), ", in ",
                   humanDuration(job.getNextAtNs() - nowNs), "\n");
  }
  if (job.getPast().size() > 0) text = kj::str(text, "  Past runs:\n");
  for (auto run : job.getPast()) text = kj::str(text, pastRun(run));
  return text;
}

kj::String prettyUpdate(schema::UpdateStatus::Reader update, int64_t nowNs) {
  auto state = capnp::DynamicEnum(update.getState());
  auto ended = update.getCompletedAtNs() == 0
                   ? kj::String()
                   : kj::str("  ", sinceText("Completed:", update.getCompletedAtNs(), nowNs), "\n");
  return kj::str("Update:\n  State: ", state, "\n  ",
                 sinceText("Began:", update.getStartedAtNs(), nowNs), "\n", ended,
                 "  Message: ", update.getMessage(), "\n");
}

// What its update or its runs do comes first: it is what one looks for.
kj::String prettyService(schema::Service::Reader service, int64_t nowNs) {
  capnp::MallocMessageBuilder message;
  message.setRoot(service);
  auto rest = message.getRoot<schema::Service>();
  kj::String first;
  if (service.getUpdate().getState() != schema::UpdateStatus::State::NONE) {
    first = prettyUpdate(service.getUpdate(), nowNs);
    rest.disownUpdate();
  }
  if (service.hasJob()) {
    first = kj::str(first, prettyJob(service.getJob(), nowNs));
    rest.disownJob();
  }
  rest.disownHistory();  // see 'orch service history'
  return kj::str(first, pretty(capnp::toDynamic(rest.asReader())));
}

Task<int> inspectServices(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.serviceRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      context.connection.noteAge(response.value());
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
