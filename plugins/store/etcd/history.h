// Keeps within bounds what etcd holds of the past: records of batches, and overwritten keys.
#pragma once

#include <kj/async.h>

#include "etcd/client.h"
#include "orch/host.h"

namespace orch::store::etcd {

using namespace orch::etcd;  // the client
class EtcdStore;

// Works where commits come from, and only then. On the loop.
class History final : private kj::TaskSet::ErrorHandler {
 public:
  // `find` remembers the last 1,000 batches; what a busy store gains meanwhile comes on top.
  static constexpr uint64_t KEPT_RECORDS = 1500;
  static constexpr uint64_t TRIM_EVERY = 250;

  // The references outlive it. `keep`: see `historyMs` of the settings; 0: nothing is compacted.
  History(Env& env, Client& client, EtcdStore& store, Log& log, kj::Duration keep);

  void committed(uint64_t revision);

 private:
  Task<void> trim();
  Task<void> compact(uint64_t revision);
  void tell(bool& fails, kj::StringPtr id, Outcome<void>& outcome);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Client& client;
  EtcdStore& store;
  Log& log;
  kj::Duration keep;
  uint64_t sinceTrim = TRIM_EVERY;  // whoever was here before may have left some
  bool trimming = false;
  bool compacting = false;
  bool trimFails = false;
  bool compactFails = false;
  kj::TaskSet tasks{*this};
};

}  // namespace orch::store::etcd
