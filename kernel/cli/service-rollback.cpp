#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "output.h"
#include "service-change.h"
#include "value.h"

namespace orch::cli {

namespace {

using RollbackResults = schema::ClusterControl::RollbackServiceResults;

constexpr Option SERVICE_ROLLBACK_OPTIONS[] = {
    {"-d,--detach", nullptr, "Do not wait until the service has converged"},
    {"-q,--quiet", nullptr, "Print no progress"},
    {"--to", "VERSION", "Go back to this one of 'orch service history' (default: the last)"},
    VERIFY_OPTION,
};

Task<int> rollBackService(Context& context) {
  uint64_t verify = verifyMs(context.args);
  auto name = kj::str(context.args.operands()[0]);
  uint64_t to =
      context.args.given("--to") ? parseWhole("--to", context.args.text("--to"), 1, UINT32_MAX) : 0;
  auto requestId = context.env.newId();
  auto answer = co_await context.connection.change<RollbackResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.rollbackServiceRequest();
        request.setRequestId(requestId);
        request.setId(name);
        request.setTo(to);
        return request.send();
      });
  RollbackResults::Reader results = answer;
  printWarnings(context.out, results.getWarnings());
  if (!context.out.wroteJson(capnp::toDynamic(results))) context.out.line(name);
  kj::Vector<Wait> waits;
  Wait wait;
  wait.id = kj::str(results.getService().getMeta().getId());
  wait.name = kj::mv(name);
  wait.verifyMs = verify;
  auto update = results.getService().getUpdate();
  if (update.getState() == schema::UpdateStatus::State::ROLLBACK_STARTED) {
    wait.updateNs = update.getStartedAtNs();
  }
  if (hasAim(results.getService())) waits.add(kj::mv(wait));
  co_return co_await finishChange(context, kj::mv(waits));
}

}  // namespace

const Command SERVICE_ROLLBACK = {.path = "service rollback",
                                  .operands = "SERVICE",
                                  .help = "Go back to what a service was before",
                                  .options = SERVICE_ROLLBACK_OPTIONS,
                                  .run = rollBackService,
                                  .interruptible = true};

}  // namespace orch::cli
