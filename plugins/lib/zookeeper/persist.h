// How calls outlive a connection that breaks.
#pragma once

#include <optional>

#include "orch/attempt.h"
#include "orch/env.h"
#include "zookeeper/client.h"

namespace orch::zookeeper {

// Until `once` succeeds with a value, for as long as `timeout`: again after nothing, and after what
// fails with DISCONNECTED. What fails otherwise fails it. Nothing if the time is over. `env` and
// `client` outlive it.
template <typename T>
Task<std::optional<T>> persistInTime(Env& env, Client& client, kj::Duration timeout,
                                     kj::Function<Task<std::optional<T>>()> once) {
  constexpr auto FIRST_PAUSE = 10 * kj::MILLISECONDS;
  constexpr auto LAST_PAUSE = 500 * kj::MILLISECONDS;
  auto& timer = env.timer();
  auto deadline = timer.now() + timeout;
  std::optional<T> none;
  for (auto pause = FIRST_PAUSE;; pause = kj::min(pause * 2, LAST_PAUSE)) {
    auto left = deadline - timer.now();
    if (left <= 0 * kj::SECONDS) co_return kj::mv(none);
    auto trying = client.connected().then([&once] { return once().promise(); });
    auto outcome = co_await attempt(timer.timeoutAfter(left, kj::mv(trying)));
    if (outcome.ok()) {
      if (outcome.value()) co_return kj::mv(outcome.value());
      continue;  // somebody else was faster
    }
    auto kind = outcome.error().getType();
    if (kind == kj::Exception::Type::OVERLOADED) co_return kj::mv(none);
    if (kind != kj::Exception::Type::DISCONNECTED) {
      kj::throwFatalException(kj::mv(outcome.error()));
    }
    co_await timer.afterDelay(kj::min(pause, left));
  }
}

// The same, but fails with what there is to do if the time is over.
template <typename T>
Task<T> persist(Env& env, Client& client, kj::Duration timeout,
                kj::Function<Task<std::optional<T>>()> once) {
  auto value = co_await persistInTime<T>(env, client, timeout, kj::mv(once));
  if (!value) fail(kj::str(client.lostText().c_str()));
  co_return kj::mv(*value);
}

}  // namespace orch::zookeeper
