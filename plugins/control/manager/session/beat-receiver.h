// Hears the heartbeats that come as datagrams (plugins/control/lib/beat.h), on a worker thread:
// they cost the loop nothing until somebody asks which nodes are no longer heard.
#pragma once

#include <kj/time.h>

#include <memory>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/agent.capnp.h"

namespace orch::control::manager {

class BeatReceiver final {
 public:
  explicit BeatReceiver(Env& env) : env(env) {}
  ~BeatReceiver() noexcept(false) { stop(); }
  KJ_DISALLOW_COPY(BeatReceiver);

  struct Heard {
    kj::TimePoint at;
    uint32_t loopLagMs;  // as it was said
  };

  // At `ip:port`, from now on; again: nothing more. Fails with the system's reason.
  void listen(const std::string& address);
  bool listens() const { return shared != nullptr; }
  void stop();

  // A session of the node whose beats count, with a key of its own in `terms`; its number.
  uint64_t admit(const std::string& nodeId, uint32_t periodMs, schema::BeatTerms::Builder terms);
  void forget(uint64_t session);
  // Nothing: never, or there is no such session.
  kj::Maybe<Heard> lastOf(uint64_t session) const;
  // Nodes that did beat, but not since then, or whose loop has stood still for so long.
  std::vector<std::string> unwell(kj::TimePoint since, uint32_t loopLagMs) const;
  // Datagrams that were no beat, or not a new one of a session, since it listens.
  uint64_t ignored() const;

 private:
  struct Shared;

  Env& env;
  std::string own;                 // the address
  std::shared_ptr<Shared> shared;  // owned by this and by the thread, which may be the last to end
};

}  // namespace orch::control::manager
