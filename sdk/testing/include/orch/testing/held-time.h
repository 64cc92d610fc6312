// A real Env whose timers only the test moves: processes, sockets and files take as long as they
// take, and no deadline comes before the test lets it come.
#pragma once

#include <kj/async-io.h>

#include "orch/env.h"

namespace orch::testing {

class HeldTime final : public Env {
 public:
  // Both outlive it.
  HeldTime(Env& real, kj::WaitScope& waitScope);
  ~HeldTime() noexcept(false) override;

  // Runs whatever is due in the next `duration`, in its order.
  void advance(kj::Duration duration);
  // Time that passes at once, as for a process that was stopped.
  void jump(kj::Duration duration);

  const kj::Clock& clock() override { return real.clock(); }
  kj::Timer& timer() override { return held; }
  kj::Filesystem& files() override { return real.files(); }
  kj::Network& network() override { return real.network(); }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override { return real.lowLevelIo(); }
  kj::UnixEventPort& eventPort() override { return real.eventPort(); }
  Workers& workers() override { return real.workers(); }
  Processes& processes() override { return real.processes(); }
  uint64_t random() override { return real.random(); }

 private:
  Env& real;
  kj::WaitScope& waitScope;
  kj::TimerImpl held;
};

// Lets the loop of `real`, an Env with a real timer, turn until `reached`. Fails after a minute,
// and says that it waited for `what`.
void until(Env& real, kj::WaitScope& waitScope, kj::StringPtr what, kj::Function<bool()> reached);

}  // namespace orch::testing
