// One backend as this node uses it: watched for as long as it is in the manifest, and beaten with
// this node's entry if it can be written.
#pragma once

#include <kj/refcount.h>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::control::discovery {

// Whom a backend tells. Outlives all backends.
class BackendOwner {
 public:
  virtual ~BackendOwner() noexcept(false) {}
  virtual void answered(kj::StringPtr backend,
                        capnp::List<schema::DiscoveryEntry>::Reader entries) = 0;
  // It is not in the manifest any more. The owner drops it later than in this call.
  virtual void gone(kj::StringPtr backend) = 0;
  // What this node has announced, or nothing yet.
  virtual kj::Maybe<schema::DiscoveryEntry::Reader> announced() = 0;
};

struct BeatTimes {
  kj::Duration heartbeat;
  uint64_t ttlMs;
};

// Counted by its owner and by the sinks that it has given out.
class Backend final : public kj::Refcounted {
 public:
  // Between two tries at one that does not answer: 1 s, 2 s, 4 s … up to this.
  static constexpr auto RETRY = 30 * kj::SECONDS;

  Backend(Env& env, Host& host, BackendOwner& owner, kj::String name, BeatTimes times);

  void start();
  // No call to the owner after it.
  void end();
  // The entry is another, or the same once more: it is registered at once.
  void announceAgain();
  void unregister(kj::String address);
  void describe(schema::DiscoveryBackend::Builder status) const;
  schema::Discovery::Client client() { return host.service<schema::Discovery>(name); }

 private:
  class Sink;
  kj::Promise<void> guarded(Task<void> task);
  Task<void> follow();
  Task<bool> isThere();
  Task<void> beat();
  bool isAnnounced();
  using Registration =
      capnp::Request<schema::Discovery::RegisterParams, schema::Discovery::RegisterResults>;
  Registration registration();
  Task<void> registerOnce();
  kj::Duration jittered(kj::Duration about);
  void setError(kj::StringPtr text);

  Env& env;
  Host& host;
  kj::Maybe<BackendOwner&> owner;
  kj::String name;
  BeatTimes times;
  kj::String error;
  kj::String registerError;
  bool writable = true;
  kj::Own<kj::PromiseFulfiller<void>> beatNow;
  kj::Promise<void> following = nullptr;
  kj::Promise<void> beating = nullptr;
  kj::Promise<void> unregistering = nullptr;
};

}  // namespace orch::control::discovery
