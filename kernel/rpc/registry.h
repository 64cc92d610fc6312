// Services by name. A name that was offered once keeps its proxy for the life of the node.
#pragma once

#include <kj/async.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/rpc/method-table.h"
#include "kernel/rpc/service-proxy.h"
#include "orch/schema/trust.capnp.h"

namespace orch::rpc {

class Registry final {
 public:
  Registry() = default;
  ~Registry() noexcept(false);  // who still waits gets DISCONNECTED
  KJ_DISALLOW_COPY(Registry);

  // Offering a name that runs is refused.
  void offer(const std::string& name, capnp::Capability::Client service);
  // What other hosts get under the name. Withdrawn together with it.
  void offerToPeers(const std::string& name, schema::PeerService::Client service);
  void withdraw(const std::string& name);

  bool runs(const std::string& name) const;
  // At once, or when it is offered for the first time. Dropping the promise forgets the wait.
  kj::Promise<capnp::Capability::Client> find(const std::string& name);
  // A plugin of the manifest: a service of its name may come.
  void expect(const std::string& id) { expected.insert(id); }
  void expectNoMore(const std::string& id) { expected.erase(id); }
  // False for a name like a plugin's id (with a dot) that is not in the manifest and does not run.
  bool mayCome(const std::string& name) const {
    return name.find('.') == std::string::npos || expected.count(name) > 0 || runs(name);
  }
  // Those that run, sorted.
  std::vector<std::string> names(const std::string& prefix) const;
  kj::Maybe<schema::PeerService::Client&> forPeers(const std::string& name);
  std::vector<std::string> namesForPeers() const;
  // Names that somebody waits for: none is kept for a name that nobody asks for any more.
  size_t waitedFor() const { return waiting.size(); }
  // Of all plugins that the node has read the files of.
  MethodTable& methods() { return knownMethods; }

 private:
  class Waiter;
  std::set<std::string> expected;
  MethodTable knownMethods;
  std::map<std::string, kj::Own<ServiceTarget>> targets;
  std::map<std::string, schema::PeerService::Client> peerServices;
  std::multimap<std::string, Waiter*> waiting;  // each takes itself out
};

}  // namespace orch::rpc
