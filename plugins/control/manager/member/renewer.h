// Has the certificate of this node renewed in time, on managers and workers alike: at 50 to 80 % of
// its life, so that those that were made together do not come back together.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// On the loop. `env` and `host` outlive it.
class Renewer final {
 public:
  // The certificate for a request of this node's.
  using Sign = kj::Function<kj::Promise<kj::String>(kj::String request)>;

  Renewer(Env& env, Host& host, Sign sign);
  KJ_DISALLOW_COPY(Renewer);

  // From now on, until `stop`. Again after the node has become a member.
  void start();
  void stop() { running = kj::READY_NOW; }

 private:
  Task<void> run();
  Task<int64_t> untilDue();
  Task<void> renew();
  void complain(kj::StringPtr id, kj::String reason);

  Env& env;
  Host& host;
  Sign sign;
  schema::Trust::Client trust;
  kj::String complaint;  // each is made once
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::control::manager
