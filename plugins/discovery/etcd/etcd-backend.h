// One cluster's entries in an etcd: watches them, and registers by leases.
#pragma once

#include <kj/refcount.h>

#include <map>

#include "etcd/client.h"
#include "lib/key-place.h"
#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/semaphore.h"

namespace orch::discovery::etcd {

// Counted by the plugin's instance and by the capability it has handed out, which may live longer.
class EtcdBackend final : public kj::Refcounted {
 public:
  // `env` outlives it. A request that no member answers within `timeout` has failed; it is made
  // again after 100 ms, 200 ms …, up to 30 s.
  EtcdBackend(Env& env, KeyPlace place, const http::TlsFiles& tls, kj::Duration timeout);

  // Who this node is to an etcd with users. Before `follow`.
  void logIn(std::string user, std::string password) { client.logIn(user, password); }
  // Until it is cancelled.
  Task<void> follow();
  void end() { watchers->end(); }

  Task<void> watch(schema::DiscoverySink::Client sink) { return watchers->watch(kj::mv(sink)); }
  Task<void> put(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);  // read before it returns
  Task<void> remove(std::string address);

 private:
  // What an entry that was registered here goes with.
  struct Lease {
    uint64_t id = 0;
    uint64_t seconds = 0;
  };
  // As long as they are the same, nothing has changed.
  struct Mark {
    uint64_t count = 0;
    uint64_t newest = 0;  // revision
    bool operator==(const Mark&) const = default;
  };
  static Mark markOf(const orch::etcd::RangeAnswer& answer);

  // Reads and tells all that is there, and answers the revision that it was read at.
  Task<uint64_t> look();
  // Looks again at each change after `revision`, until the watch has nothing more to tell.
  Task<void> lookAtChanges(uint64_t revision);
  // Until something has changed that was not told in all the time.
  Task<void> noticeSilence();
  Task<void> pause(kj::Duration about);
  Task<void> enter(std::string address, std::string details, uint64_t seconds);
  // One with this time to live that has just been renewed or granted.
  Task<uint64_t> leaseOf(std::string address, uint64_t seconds);

  Env& env;
  const KeyPlace place;
  orch::etcd::Client client;
  std::map<std::string, Lease> leases;  // by address
  Semaphore writing{1};
  Mark seen;
  bool heard = false;  // from the watch that there is
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
};

schema::Discovery::Client newEtcdServer(kj::Own<EtcdBackend> backend);

}  // namespace orch::discovery::etcd
