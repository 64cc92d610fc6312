// Commands that have orchd start again as what the node has become: waits until it has.
#pragma once

#include "command.h"
#include "connection.h"
#include "orch/attempt.h"

namespace orch::cli {

constexpr kj::Duration BACK_LIMIT = 60 * kj::SECONDS;
constexpr kj::Duration LOOK_EVERY = 50 * kj::MILLISECONDS;

// Asks what the node is until that is as `wanted` says. False: it has not become so in time.
template <typename F>
Task<bool> becomes(Context& context, F wanted) {
  auto giveUpAt = context.env.timer().now() + BACK_LIMIT;
  while (context.env.timer().now() < giveUpAt) {
    co_await context.env.timer().afterDelay(LOOK_EVERY);
    auto asked = co_await attempt(context.connection.trustState());
    if (asked.ok() && wanted(asked.value().getState())) co_return true;
  }
  co_return false;
}

// Whether a manager has found the leader, or leads.
Task<bool> hasLeader(Context& context);

}  // namespace orch::cli
