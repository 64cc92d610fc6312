// Another Env with something of its own: whoever derives from it says what.
#pragma once

#include "orch/env.h"

namespace orch::testing {

class EnvAround : public Env {
 public:
  // It outlives this.
  explicit EnvAround(Env& real) : real(real) {}

  const kj::Clock& clock() override { return real.clock(); }
  kj::Timer& timer() override { return real.timer(); }
  kj::Filesystem& files() override { return real.files(); }
  kj::Network& network() override { return real.network(); }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override { return real.lowLevelIo(); }
  kj::UnixEventPort& eventPort() override { return real.eventPort(); }
  Workers& workers() override { return real.workers(); }
  Processes& processes() override { return real.processes(); }
  uint64_t random() override { return real.random(); }

 protected:
  Env& real;
};

}  // namespace orch::testing
