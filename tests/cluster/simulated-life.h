// What the parts of a simulated host share.
#pragma once

#include "kernel/log/limited-log.h"
#include "kernel/log/logger.h"
#include "kernel/rpc/registry.h"
#include "orch/schema/store.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "simulated-host.h"

namespace orch::testing {

// One run of orchd. What is over is kept: nothing of it can do anything any more.
struct SimulatedHost::Life {
  Life(SimulatedHost& host, Env& env)
      : host(host),
        env(env),
        logger("sim", schema::LogLevel::ERROR),
        refusals(env, logger),
        tasks(host),
        peers(newTasks(host)) {}
  static kj::Own<kj::TaskSet> newTasks(kj::TaskSet::ErrorHandler& handler) {
    return kj::heap<kj::TaskSet>(handler);
  }
  SimulatedHost& host;
  Env& env;
  log::Logger logger;
  log::Refusals refusals;
  rpc::Registry registry;
  std::vector<schema::Plugin::Client> plugins;
  kj::Maybe<kj::Own<trust::Uplink>> uplink;
  bool over = false;
  uint64_t random = 0;
  kj::TaskSet tasks;
  kj::Own<kj::TaskSet> peers;  // connections of other nodes
  kj::Canceler connecting;     // to other nodes: ends with the network at the latest
};

// The kernel's service `trust`, of a cluster of several managers.
class SimulatedHost::TrustServer final : public schema::Trust::Server {
 public:
  explicit TrustServer(Life& life) : life(life) {}
  kj::Promise<void> state(StateContext context) override;
  kj::Promise<void> request(RequestContext context) override;
  kj::Promise<void> adopt(AdoptContext context) override;
  kj::Promise<void> renew(RenewContext context) override;
  kj::Promise<void> know(KnowContext context) override;
  kj::Promise<void> reach(ReachContext context) override;
  kj::Promise<void> release(ReleaseContext context) override;

 private:
  Life& life;
  std::string key;
};

// The state of several managers as one run of orchd sees it: over a network, so that calls take a
// moment and can be cut off; whoever is gone is not answered.
class SimulatedHost::StateProxy final : public capnp::Capability::Server {
 public:
  explicit StateProxy(Life& life);
  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override;

 private:
  Task<void> forward(uint64_t interfaceId, uint16_t methodId,
                     capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context);
  static Task<void> onTheWay(Life& life);
  Task<void> travel();
  void distort(uint16_t methodId, capnp::AnyPointer::Builder answer);

  class Changes;
  Life& life;
  capnp::Capability::Client state;
  uint64_t wonEpoch = 0;  // with a planted bug, until a commit is refused
};

}  // namespace orch::testing
