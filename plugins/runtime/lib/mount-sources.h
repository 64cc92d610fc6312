// What a bind source is, without being held up by it: the file system that it lies on may hang, as
// a dead NFS server does, and whoever has asked such a one cannot be ended, nor can his process.
#pragma once

#include <kj/common.h>
#include <kj/string.h>

#include <map>
#include <string>

#include "orch/env.h"

namespace orch::runtime {

// The mode (st_mode) if that can be said at once: of what lies on the root file system, which holds
// up everybody anyway, or on another disk. Null if it takes a look that may hang. Fails if there is
// nothing, or if it cannot be used. For worker threads.
kj::Maybe<unsigned> lookWithoutWaiting(const std::string& source);

// Looks by a process of its own, one for each source however many wait for it; that process may
// stay after the plugin and orchd have ended. On the loop.
class MountSources final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr size_t MAX_LOOKS = 32;  // at once, of sources that do not answer
  explicit MountSources(Env& env);
  KJ_DISALLOW_COPY(MountSources);

  // Dropping it leaves the look to others. Fails as lookWithoutWaiting.
  kj::Promise<unsigned> look(const std::string& source);

 private:
  struct Look {
    kj::PromiseFulfillerPair<unsigned> pair = kj::newPromiseAndFulfiller<unsigned>();
    kj::ForkedPromise<unsigned> answer = pair.promise.fork();
  };
  void taskFailed(kj::Exception&& exception) override;
  Task<void> run(std::string source);

  Env& env;
  std::map<std::string, Look> looks;
  kj::TaskSet tasks;  // last: what it ends uses the above
};

}  // namespace orch::runtime
