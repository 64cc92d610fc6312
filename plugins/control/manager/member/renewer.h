// Has the certificate of this node renewed, on managers and workers alike: at 50 to 80 % of its
// life, so that those that were made together do not come back together, and at once when the
// node is to be something else, or to trust somebody else.
#pragma once

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// On the loop. `env` and `host` outlive it.
class Renewer final {
 public:
  // `renewed`: told after each time, with the digest of the authority that has signed it.
  Renewer(Env& env, Host& host, kj::Function<void(std::string)> renewed);
  KJ_DISALLOW_COPY(Renewer);

  // From now on, until `stop`. Again after the node has become a member.
  void start();
  void stop() {
    running = kj::READY_NOW;
    watching = kj::READY_NOW;
  }

 private:
  Task<void> run();
  Task<void> watchRole();
  Task<void> takeNewRole();
  Task<int64_t> untilDue();
  Task<void> renew();
  void complain(kj::StringPtr id, kj::String reason);

  Env& env;
  Host& host;
  schema::Trust::Client trust;
  kj::Function<void(std::string)> renewed;
  kj::String complaint;  // each is made once
  kj::Promise<void> running = kj::READY_NOW;
  kj::Promise<void> watching = kj::READY_NOW;
};

}  // namespace orch::control::manager
