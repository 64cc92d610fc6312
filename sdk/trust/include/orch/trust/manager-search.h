// Looks for a manager that has something for this node: of those that the node knows, any may be
// off, and most only follow the one that leads.
#pragma once

#include <string>
#include <vector>

#include "orch/schema/gateway.capnp.h"
#include "orch/trust/peer-link.h"

namespace orch::trust {

// A manager with a connection to it.
struct FoundManager {
  std::string address;
  kj::Own<PeerLink> link;
  schema::Gateway::Client gateway;
  capnp::Response<schema::Gateway::ServicesResults> services;  // that it has for this node
};

// Lives on the loop, as long as what `find` returns.
class ManagerSearch final {
 public:
  // A way to the manager at an address.
  using Connect = kj::Function<Task<kj::Own<kj::AsyncIoStream>>(kj::String address)>;
  // `env` and `managers` outlive it.
  ManagerSearch(Env& env, const std::vector<std::string>& managers, Connect connect)
      : env(env), managers(managers), connect(kj::mv(connect)) {}
  KJ_DISALLOW_COPY(ManagerSearch);

  // Where managers may be found, too.
  void suggest(std::vector<std::string> managers) { suggested = kj::mv(managers); }
  // Asks each of them, one beside the other (first-of.h), each time beginning with another one.
  // Fails with what stands in the way to the one that it began with.
  Task<FoundManager> find();
  const std::string& begunWith() const { return first; }

 private:
  Task<FoundManager> ask(std::string address);

  Env& env;
  const std::vector<std::string>& managers;
  Connect connect;
  std::vector<std::string> suggested;
  std::string first;
  size_t round = 0;
};

}  // namespace orch::trust
