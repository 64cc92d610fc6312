// What the managers say of networks that span hosts, passed on to the plugins that carry them out.
// Each of these is told everything once, and then what has changed; what came meanwhile is one
// change. Nothing is passed on before a manager has told the whole; a node that finds none goes by
// what it was told last (network-plan.h).
#pragma once

#include <capnp/message.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/network.capnp.h"
#include "orch/task.h"
#include "told-check.h"

namespace orch::control::agent {

class NetworkPlan;

// The plugins that there are for it.
inline constexpr kj::StringPtr LEGS = "network.overlay"_kj;
inline constexpr kj::StringPtr NAMES = "network.dns"_kj;
inline constexpr kj::StringPtr PORTS = "network.ingress"_kj;
inline bool isLocalDriver(kj::StringPtr service) {
  return service != LEGS && service != NAMES && service != PORTS;
}

class NetworkTables final : private kj::TaskSet::ErrorHandler {
 public:
  using Find = std::function<schema::NetworkTables::Client(kj::StringPtr service)>;
  NetworkTables(Env& env, Log& log, Find find);
  KJ_DISALLOW_COPY(NetworkTables);
  // From now on it is told everything, too. It outlives this.
  void keepIn(NetworkPlan& plan);
  // What the last run left is told, unless a manager has been heard of.
  void goByPlan();

  // From here on comes the whole, until `end`.
  void begin(bool complete);
  void take(schema::Assignment::Reader assignment);
  void forget(schema::AssignedObject::Reader object);
  void end();

  // Settles when the plugin has what there is now; before the first word of a manager there is
  // nothing to wait for but that.
  kj::Promise<void> known(kj::StringPtr service);
  // The same of all plugins; at once if no manager has told of a network.
  kj::Promise<void> settled();
  // All that the managers have told.
  void describe(ToldThings& things) const;
  // Its plugin has started anew, and knows nothing.
  void restarted(kj::StringPtr service);

 private:
  using Message = std::unique_ptr<capnp::MallocMessageBuilder>;
  using Member = std::pair<std::string, std::string>;  // network, task or service
  struct Waiter {
    uint64_t version = 0;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  struct Target {
    uint64_t told = 0;  // the version that it has
    bool telling = false;
    bool whole = true;  // it is to be told everything
    // Otherwise what is there, or has gone, since it was told.
    std::set<std::string> networks;
    std::set<Member> peers, services;
    std::vector<Waiter> waiters;
  };
  void changed();
  void tell(kj::StringPtr service);
  Task<void> keepTelling(kj::StringPtr service);
  kj::Promise<void> send(kj::StringPtr service);
  void fill(Target& target, schema::NetworkChange::Builder change);
  void fillAll(schema::NetworkChange::Builder change);
  void fillChanged(Target& target, schema::NetworkChange::Builder change);
  void taskFailed(kj::Exception&& exception) override;

  Env& env;
  Log& log;
  Find find;
  std::map<std::string, Message> networks;  // by id
  std::map<Member, Message> peers;
  std::map<Member, Message> services;
  uint64_t version = 0;  // 0: nothing was told yet
  bool dirty = false;    // since `begin`
  std::map<kj::StringPtr, Target> targets;
  kj::Maybe<NetworkPlan&> plan;
  kj::TaskSet tasks;
};

}  // namespace orch::control::agent
