#include "started-again.h"

namespace orch::cli {

namespace {
Task<bool> knowsCluster(Context& context) {
  co_await context.connection.trustState();  // over a new connection
  auto cluster = co_await context.connection.cluster();
  auto answer = co_await cluster.infoRequest().send();
  co_return answer.getInfo().getInitialized();
}
}  // namespace

Task<bool> hasLeader(Context& context) {
  auto giveUpAt = context.env.timer().now() + BACK_LIMIT;
  while (context.env.timer().now() < giveUpAt) {
    auto known = co_await attempt(knowsCluster(context));
    if (known.ok() && known.value()) co_return true;
    co_await context.env.timer().afterDelay(LOOK_EVERY);
  }
  co_return false;
}

}  // namespace orch::cli
