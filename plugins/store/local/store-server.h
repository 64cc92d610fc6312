// The kind's interface over a LocalStore.
#pragma once

#include <memory>

#include "commit-queue.h"
#include "orch/host.h"

namespace orch::store::local {

class StoreCore;

// Clients and subscriptions may outlive it: what they ask for after `stop` fails with DISCONNECTED.
class StoreService final {
 public:
  // `store` is owned by the queue within and by the job that runs.
  StoreService(Workers& workers, kj::Timer& timer, std::shared_ptr<LocalStore> store,
               BatchLimits limits, Log log);
  ~StoreService() noexcept(false);

  schema::Store::Client client();
  // Settles when everything that was asked is done and the files are closed.
  kj::Promise<void> stop();

 private:
  kj::Own<StoreCore> core;
};

}  // namespace orch::store::local
