// Tells the manager that this node is there, from a thread of its own: neither a loop that is busy
// nor a disk that stands still holds it up, and it says for how long the loop has stood still.
#pragma once

#include <kj/async.h>

#include <memory>

#include "orch/env.h"
#include "orch/schema/agent.capnp.h"
#include "orch/task.h"

namespace orch::control::agent {

// Used on the loop's thread. Takes one of the plugin's worker threads while it beats.
class BeatThread final {
 public:
  explicit BeatThread(Env& env);
  ~BeatThread() noexcept(false);
  KJ_DISALLOW_COPY(BeatThread);

  // Until `stop`, or the next `start`. Does nothing if the terms have no address.
  void start(schema::BeatTerms::Reader terms);
  void stop();

 private:
  struct Shared;
  Task<void> stamp(std::shared_ptr<Shared> with);

  Env& env;
  std::shared_ptr<Shared> shared;  // owned by this and by the thread, which may be the last to end
  kj::Promise<void> stamps = nullptr;
};

}  // namespace orch::control::agent
