// One cluster at a hub: asks for its list, and registers.
#pragma once

#include <kj/refcount.h>

#include "hub-client.h"
#include "lib/uri.h"
#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::discovery::token {

// Counted by the plugin's instance and by the capability it has handed out, which may live longer.
class TokenBackend final : public kj::Refcounted {
 public:
  // The hub is asked again after a failure at 1 s, 2 s, 4 s …, up to the poll.
  TokenBackend(Env& env, HubUri hub, std::string caFile, kj::Duration poll, kj::Duration timeout);

  // Until it is cancelled. Without a token it does nothing.
  Task<void> poll();
  void end() { watchers->end(); }

  Task<void> watch(schema::DiscoverySink::Client sink);
  Task<void> put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);  // read before it returns
  Task<void> remove(std::string address);
  // The URI of a new cluster at `at`.
  Task<kj::String> create(std::string at);

 private:
  Task<void> change(kj::HttpMethod method, std::string query, std::string address);
  void requireToken() const;

  Env& env;
  HubUri hub;
  kj::Duration interval;
  HubClient client;
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
  kj::Own<kj::PromiseFulfiller<void>> askNow;
};

schema::Discovery::Client newTokenServer(kj::Own<TokenBackend> backend);

}  // namespace orch::discovery::token
