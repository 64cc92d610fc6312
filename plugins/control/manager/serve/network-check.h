// Whether the nodes' kernels have the networks as the state says: the agents are asked, and told
// what they should have been told.
#pragma once

#include <string>
#include <vector>

#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

class NetworkCheck final {
 public:
  NetworkCheck(Env& env, Manager& manager, Sessions& sessions)
      : env(env), manager(manager), sessions(sessions) {}

  // Part of `cluster`; see sdk/schema/cluster.capnp. A node that does not answer within PATIENCE is
  // missing.
  using Cluster = schema::ClusterControl;
  using Context = capnp::CallContext<Cluster::CheckNetworksParams, Cluster::CheckNetworksResults>;
  Task<void> run(Context context);

  static constexpr kj::Duration PATIENCE = 20 * kj::SECONDS;
  // What is not as it should be may be on its way: only what is still so then counts.
  static constexpr kj::Duration ON_ITS_WAY = 500 * kj::MILLISECONDS;

 private:
  struct Finding {
    std::string node, network, object, expected, found;
    bool repaired = false;
  };
  struct Sum {
    uint32_t nodes = 0, things = 0;
    std::vector<Finding> findings;
    std::vector<std::string> missing;
  };
  using Answer = capnp::Response<schema::Agent::CheckNetworksResults>;

  kj::Promise<Answer> ask(const std::string& nodeId, const std::string& network, bool repair);
  struct Checked {
    Answer found;
    kj::Maybe<Answer> before;  // what was found at first
    kj::Maybe<Answer> left;    // after the node was told all again
  };
  Task<Checked> askNode(std::string nodeId, std::string network, bool repair);
  void take(const std::string& node, Checked& checked, Sum& sum);
  // As users know it: with the names of tasks and services.
  std::string named(kj::StringPtr network, kj::StringPtr object);

  Env& env;
  Manager& manager;
  Sessions& sessions;
};

}  // namespace orch::control::manager
