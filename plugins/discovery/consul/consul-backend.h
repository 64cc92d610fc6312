// One cluster's entries in a consul: watches them by blocking queries, and registers by sessions.
#pragma once

#include <kj/refcount.h>

#include <map>

#include "consul/client.h"
#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/semaphore.h"
#include "place.h"

namespace orch::discovery::consul {

// Counted by the plugin's instance and by the capability it has handed out, which may live longer.
class ConsulBackend final : public kj::Refcounted {
 public:
  // consul is asked again after a failure at 1 s, 2 s, 4 s …, up to 30 s.
  ConsulBackend(Env& env, Place place, orch::consul::ClientSettings settings);

  // Until it is cancelled.
  Task<void> follow();
  void end() { watchers->end(); }

  Task<void> watch(schema::DiscoverySink::Client sink) { return watchers->watch(kj::mv(sink)); }
  Task<void> put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);  // read before it returns
  Task<void> remove(std::string address);

 private:
  // A session of consul's, which its keys end with.
  struct Session {
    std::string id;
    uint64_t seconds = 0;
  };
  Task<void> look(uint64_t index);
  Task<void> enter(std::string address, std::string details, uint64_t seconds);
  // One with this time to live that has just been renewed or made.
  Task<std::string> session(std::string address, uint64_t seconds);
  Task<void> destroy(std::string id);
  // Like `Client::ask`, but fails unless it is answered.
  Task<orch::consul::Reply> demand(kj::HttpMethod method, std::string path, std::string body);

  Env& env;
  const Place place;
  orch::consul::Client client;
  std::map<std::string, Session> sessions;  // by address
  // One change at a time, in the order of asking: one that registers asks several times.
  Semaphore writing{1};
  uint64_t index = 0;    // what is known is of this or later; 0: nothing is
  bool nothing = false;  // is there
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
};

schema::Discovery::Client newConsulServer(kj::Own<ConsulBackend> backend);

}  // namespace orch::discovery::consul
