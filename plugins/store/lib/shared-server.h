// The kind's interface over a state that several hosts reach, whatever server keeps it.
#pragma once

#include <kj/function.h>

#include <optional>
#include <string>

#include "lib/answers.h"
#include "lib/batch.h"
#include "lib/known-state.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/store.capnp.h"

namespace orch::store {

// One that tells changes to a sink for as long as it is there.
class Following {
 public:
  virtual ~Following() noexcept(false) {}
};

// What a server is asked for. On the loop. Commits and elections come one at a time, in the
// caller's order; the rest at any time.
class SharedState {
 public:
  virtual ~SharedState() noexcept(false) {}
  virtual Task<CommitAnswer> commit(FlatBatch batch, uint64_t epoch) = 0;
  virtual Task<ElectAnswer> elect(std::string candidate, uint64_t expected, uint64_t least) = 0;
  // The revision at which the batch was applied. If it was not, it never will be.
  virtual Task<std::optional<uint64_t>> find(std::string batchId) = 0;
  // Every object to `sink`, in order, of one moment; what is known of the state at that moment.
  virtual Task<KnownState> load(schema::ObjectSink::Client sink) = 0;
  virtual kj::Own<Following> follow(uint64_t from, schema::ChangeSink::Client sink) = 0;
  // Fails unless the server keeps names of this kind as they are.
  virtual void checkNames(schema::Batch::Reader batch) const = 0;
  // Those that it runs itself, if it does.
  virtual kj::Maybe<schema::StoreServers::Client> ownServers() { return nullptr; }
  // Something was committed: time to tidy up.
  virtual void committed() {}

  const KnownState& known() const { return knows; }
  // Told whenever `known` has changed.
  kj::Function<void()> learned = [] {};

 protected:
  KnownState knows;
};

struct SharedSettings {
  BatchLimits limits;
  std::string knownFile;  // where `known` is kept
  std::string uri;        // of Store.limits
};

class SharedCore;

// Clients and subscriptions may outlive it: what they ask for after `stop` fails with DISCONNECTED.
class SharedService final {
 public:
  // `env` outlives it.
  SharedService(Env& env, SharedSettings settings, kj::Own<SharedState> state, Log log);
  ~SharedService() noexcept(false);

  schema::Store::Client client();
  // Settles when every commit is done that was asked for.
  Task<void> stop();

 private:
  kj::Own<SharedCore> core;
};

}  // namespace orch::store
