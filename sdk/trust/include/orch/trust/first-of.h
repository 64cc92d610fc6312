// Asks several, of whom one will do, some of whom may never answer. Nobody is asked without need,
// and nobody who is silent is waited for.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include "orch/attempt.h"

namespace orch::trust {

// Until the next one is asked beside those that have not answered. As RFC 8305 recommends between
// the addresses of a host.
constexpr kj::Duration STAGGER = 250 * kj::MILLISECONDS;

// One use. Asks `count`, by their numbers, in their order: the next one when STAGGER has passed, or
// at once when one has failed. Dropping what `answer` returns, or this, ends all that is asked.
template <typename T>
class FirstOf final {
 public:
  using Ask = kj::Function<kj::Promise<T>(size_t number)>;
  // `timer` outlives it. There is at least one to ask.
  FirstOf(kj::Timer& timer, size_t count, Ask ask) : timer(timer), count(count), ask(kj::mv(ask)) {}
  KJ_DISALLOW_COPY(FirstOf);

  // The first that comes; who has not answered by then is asked no more. When all have failed, this
  // fails as the one with number 0 did.
  Task<T> answer() {
    while (found == nullptr && failed < count) {
      size_t before = failed;
      bool more = asked.size() < count;
      if (more) asked.add(tell(asked.size()).promise().eagerlyEvaluate(nullptr));
      if (found != nullptr || failed > before) continue;
      auto pair = kj::newPromiseAndFulfiller<void>();
      told = kj::mv(pair.fulfiller);
      auto waits = kj::mv(pair.promise);
      if (asked.size() < count) waits = waits.exclusiveJoin(timer.afterDelay(STAGGER));
      co_await waits;
    }
    asked.clear();
    KJ_IF_MAYBE (value, found) {
      co_return kj::mv(*value);
    }
    kj::throwFatalException(kj::mv(KJ_ASSERT_NONNULL(reason)));
  }

 private:
  Task<void> tell(size_t number) {
    auto answered = co_await attempt(ask(number));
    if (answered.ok()) {
      if (found == nullptr) found = kj::mv(answered.value());
    } else {
      ++failed;
      if (number == 0) reason = kj::mv(answered.error());
    }
    if (told.get() != nullptr) told->fulfill();
  }

  kj::Timer& timer;
  const size_t count;
  Ask ask;
  kj::Maybe<T> found;
  size_t failed = 0;
  kj::Maybe<kj::Exception> reason;
  kj::Own<kj::PromiseFulfiller<void>> told;
  kj::Vector<kj::Promise<void>> asked;
};

}  // namespace orch::trust
