// A real Env whose timers only the test moves: processes, sockets and files take as long as they
// take, and no deadline comes before the test lets it come.
#pragma once

#include <kj/async-io.h>

#include "orch/testing/env-around.h"

namespace orch::testing {

class HeldTime final : public EnvAround {
 public:
  // Both outlive it.
  HeldTime(Env& real, kj::WaitScope& waitScope);
  ~HeldTime() noexcept(false) override;

  // Runs whatever is due in the next `duration`, in its order.
  void advance(kj::Duration duration);
  // Time that passes at once, as for a process that was stopped.
  void jump(kj::Duration duration);

  kj::Timer& timer() override { return held; }

 private:
  kj::WaitScope& waitScope;
  kj::TimerImpl held;
};

// Lets the loop of `real`, an Env with a real timer, turn until `reached`. Fails after a minute,
// and says that it waited for `what`.
void until(Env& real, kj::WaitScope& waitScope, kj::StringPtr what, kj::Function<bool()> reached);

}  // namespace orch::testing
