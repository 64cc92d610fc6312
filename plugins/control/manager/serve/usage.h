// What tasks and nodes use, when somebody asks: one question to each node that has such tasks.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "session/sessions.h"

namespace orch::control::manager {

class UsageQueries final {
 public:
  UsageQueries(Env& env, Manager& manager, Sessions& sessions)
      : env(env), manager(manager), sessions(sessions) {}

  // Part of `cluster`; see sdk/schema/cluster.capnp.
  using Cluster = schema::ClusterControl;
  Task<void> usage(capnp::CallContext<Cluster::UsageParams, Cluster::UsageResults> context);

  // A node that takes longer is said not to have answered.
  static constexpr kj::Duration PATIENCE = 2 * kj::SECONDS;
  static constexpr size_t MAX_TASKS = 10'000;

 private:
  struct Asked;
  struct AskedNode;
  using Answer = capnp::Response<schema::Agent::UsageResults>;
  // One that is down may have a session yet: nobody has ended it.
  kj::Maybe<schema::Agent::Client> agentOf(const std::string& nodeId);
  std::vector<Asked> chosen(capnp::List<capnp::Text>::Reader typed);
  kj::Promise<Answer> ask(const std::string& nodeId, const AskedNode& node, bool host);
  void describe(const std::string& nodeId, schema::NodeUsage::Builder to);

  Env& env;
  Manager& manager;
  Sessions& sessions;
};

}  // namespace orch::control::manager
