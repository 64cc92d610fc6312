#include "orch/testing/held-time.h"

#include "orch/fail.h"

namespace orch::testing {

namespace {
constexpr auto PATIENCE = 60 * kj::SECONDS;
constexpr auto LOOK = 1 * kj::MILLISECONDS;
}  // namespace

HeldTime::HeldTime(Env& real, kj::WaitScope& waitScope)
    : EnvAround(real), waitScope(waitScope), held(kj::origin<kj::TimePoint>()) {}
HeldTime::~HeldTime() noexcept(false) {}

void HeldTime::advance(kj::Duration duration) {
  auto end = held.now() + duration;
  waitScope.poll();  // what is ready may set a timer first
  for (;;) {
    kj::TimePoint next = end;
    KJ_IF_MAYBE (event, held.nextEvent()) next = kj::min(*event, end);
    held.advanceTo(kj::max(next, held.now()));
    waitScope.poll();
    if (next >= end) return;
  }
}

void HeldTime::jump(kj::Duration duration) {
  held.advanceTo(held.now() + duration);
  waitScope.poll();
}

void until(Env& real, kj::WaitScope& waitScope, kj::StringPtr what, kj::Function<bool()> reached) {
  auto& timer = real.timer();
  auto end = timer.now() + PATIENCE;
  while (!reached()) {
    if (timer.now() > end) fail(kj::str("waited for a minute, in vain, for: ", what));
    timer.afterDelay(LOOK).wait(waitScope);
  }
}

}  // namespace orch::testing
