// This node and discovery: where it can be found, where managers are, and which one to join. Nobody
// is alive or gone because discovery says so.
#pragma once

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// What a node tells others of itself.
struct Announcement {
  schema::DiscoveryEntry::Role role = schema::DiscoveryEntry::Role::UNKNOWN;
  std::string address;
  std::string cluster;  // the digest of its authority
  std::string nodeId;
};

// Addresses among `entries` that may be managers of that cluster, or if it is empty of any: first
// those that say so, then those of which nobody knows. At most MOST.
std::vector<std::string> managersAmong(capnp::List<schema::DiscoveryEntry>::Reader entries,
                                       const std::string& cluster);

// On the loop. `env` and `host` outlive it. All of it does nothing where no discovery is set up.
class Rendezvous final {
 public:
  static constexpr size_t MOST = 64;  // managers that are tried

  Rendezvous(Env& env, Host& host);
  KJ_DISALLOW_COPY(Rendezvous);

  // Announces this node, again whenever discovery starts anew, and tells the kernel where managers
  // are. From now on, until `stop`.
  void start(Announcement own);
  void stop() { running = kj::READY_NOW; }
  // Managers of that cluster, as discovery names them now. Fails, with what to do, if there are
  // none.
  Task<std::vector<std::string>> find(std::string cluster);

 private:
  class Sink;
  Task<void> run();
  Task<void> announceAndFollow();
  Task<std::vector<std::string>> reachable(std::vector<std::string> managers);

  Env& env;
  Host& host;
  Announcement own;
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::control::manager
