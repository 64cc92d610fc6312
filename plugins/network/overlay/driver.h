// The networks of one node: keeps the books on the loop, and has worker threads do what the kernel
// does. Everything that waits for one network is done in one go; networks do not wait for each
// other.
//
// A leg is in its record (leg.h) before it is in the kernel, and in the kernel before a call is
// answered, so that the next orchd finds both; all else it is told again.
#pragma once

#include <kj/refcount.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "book.h"
#include "encryption/encryption.h"
#include "host-routes.h"
#include "layout.h"
#include "lib/findings.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/network.capnp.h"
#include "orch/task.h"
#include "sandbox.h"

namespace orch::network::overlay {

// On the loop's thread. Shared by the plugin and the service that it offers; what is under way when
// the last of them goes is not undone, the next run's `retain` sees to it.
class OverlayDriver final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
 public:
  // `routesChanged` is called until `stop`.
  OverlayDriver(Env& env, Log log, Layout layout, kj::Function<void()> routesChanged)
      : env(env),
        log(kj::mv(log)),
        layout(layout),
        encryption(env, this->log, this->layout, [this] { return tunnelWish(); }),
        hostRoutes(env, kj::mv(routesChanged)),
        tasks(*this) {}
  KJ_DISALLOW_COPY(OverlayDriver);

  // Reads the records of the last run; changes nothing.
  Task<void> recover();
  // Chooses the balancer. Fails without the privileges, or without IPVS if that is what is set.
  Task<void> start();

  // As in network.capnp. `change` outlives the task.
  Task<void> update(schema::NetworkChange::Reader change);
  Task<void> plug(Leg leg);
  Task<void> unplug(std::string taskId, std::string network);
  Task<void> retain(std::vector<std::string> taskIds);
  // In driver-check.cpp. What the kernel has against the books, of one network or, if `only` is
  // empty, of all that a task here has a leg in.
  Task<Findings> check(std::string only, bool repair);
  // By network and task.
  std::vector<std::pair<std::string, std::string>> members(const std::string& only) const;
  Task<HostRoutes> routes() { return hostRoutes.ask(); }
  // Whether this host can be on encrypted networks; looks again if it could not.
  Task<void> lookAtEncryption() { return encryption.look(); }
  kj::String encryptionKey() const { return encryption.publicKey(); }
  kj::StringPtr encryptionProblem() const { return encryption.problem(); }
  BalancerKind balancer() const { return layout.balancer; }
  // Nobody is told of routes any more.
  void stop() { watching = nullptr; }

 private:
  struct Waiter {
    std::string taskId;  // of the leg that it waits for; empty: for all else
    kj::Own<kj::PromiseFulfiller<void>> done;
  };
  struct Network {
    NetworkBook book;
    // Owned by the driver and by the work under way, which may end after it.
    std::shared_ptr<Sandbox> sandbox;
    bool present = false;  // there is something of it in the kernel or a record
    bool working = false;
    std::vector<Waiter> waiters;
  };
  struct Done {
    std::shared_ptr<Sandbox> sandbox;
    Applied applied;
  };

  void taskFailed(kj::Exception&& exception) override;
  Network& networkOf(const std::string& id);
  void learnAddress(Ipv4 found);
  // This node's, as a network has it.
  HostAddress hostFor(const Network& network) const {
    return network.book.isEncrypted() ? encryption.address() : HostAddress(host);
  }
  TunnelWish tunnelWish() const;
  // After what may have been the last of the encrypted networks.
  Task<void> leaveTunnel();
  void forgetUnnamed(schema::NetworkChange::Reader change);

  // Settles when the kernel has what the book says now.
  kj::Promise<void> sync(const std::string& id, const std::string& taskId = "");
  // The same for all networks that have changed.
  kj::Promise<void> syncAll();
  Task<void> work(std::string id);
  Task<Findings> checkOne(std::string id, bool repair);
  // Nothing changes the network meanwhile.
  Task<Findings> look(std::string id);
  // The tasks that were refused.
  Task<std::map<std::string, std::string>> workOnce(std::string id, Network& network);

  Env& env;
  Log log;
  Layout layout;
  Encryption encryption;
  Ipv4 host = 0;  // this node's address, when it is known
  std::map<std::string, kj::Own<Network>> networks;
  RouteWatch hostRoutes;
  kj::Promise<void> watching = nullptr;

  kj::TaskSet tasks;  // last: what runs uses all of the above
};

}  // namespace orch::network::overlay
