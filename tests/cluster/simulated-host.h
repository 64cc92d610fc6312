// A host of a simulated cluster: a machine with its disks and containers, and orchd on it. Of orchd
// the plugins are real (manager, agent, scheduler), and so are registry, peer gateway and uplink;
// the kernel around them is made up, without TLS, so that a start costs little. The containers are
// runtime.sim's, which outlives orchd as conmon does, and is lost with the power.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/trust/uplink.h"
#include "orch/plugin.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/runtime.capnp.h"
#include "orch/testing/memory-network.h"
#include "orch/testing/memory-store.h"
#include "orch/trust/certificate.h"
#include "sim-log.h"

namespace orch::testing {

// Bugs that are planted on purpose, so that it can be seen that the simulation finds them. None is
// in the product: each is an edge that lies to it, or a setting that takes a rule away.
enum class Bug {
  NONE,
  OLD_EPOCH,      // an agent that does not look at the epoch of an order
  LOST_DELTA,     // now and then what an agent is told does not arrive, and is acknowledged
  EARLY_REPLACE,  // a manager that has just started waits for no agent to come back
  // Of several managers, each in what lies between one and the state.
  BLIND_COMMIT,     // the epoch of a commit is not looked at
  UNKNOWN_REFUSED,  // a commit whose outcome is not known is taken for one that was not done
  STALE_LEAD,       // who has led once is told that it does, until a commit is refused
  SKIPPED_CHANGE    // now and then a change does not come to who follows
};

// The containers of all hosts, as they really are.
class ContainerWatcher {
 public:
  virtual void started(const std::string& host, const std::string& taskId) = 0;
  virtual void ended(const std::string& host, const std::string& taskId) = 0;
  // What the host's agent has made durable of a task; null: it has forgotten it.
  virtual void stored(const std::string& host, const std::string& taskId,
                      kj::Maybe<schema::Task::Reader> task) = 0;
};

// What the hosts of a cluster share. All outlive them.
struct SimulatedWorld {
  VirtualWorld& world;
  MemoryNetwork& network;
  SimLog& log;
  ContainerWatcher& containers;
  Bug bug = Bug::NONE;
  // The first so many hosts manage.
  uint32_t managers = 1;
  // Where several managers have their state. Not used by one: it has a disk of its own for that.
  MemoryStore* state = nullptr;
  // For the files of its hosts, of which each has one.
  std::string folder;
  // A host has won the lead, and knows it.
  std::function<void(const std::string& host)> elected;

  bool manages(const std::string& host) const {
    return static_cast<uint32_t>(std::stoi(host.substr(1))) <= managers;
  }
};

// What the kernel's service `trust` knows of its node, over all runs of orchd. There are no keys.
struct SimulatedMember {
  bool joined = false;
  std::string cluster;  // digest of its authority
  trust::Trusted trusted;
  std::vector<std::string> managers;
};

constexpr kj::StringPtr MANAGER_HOST = "n1"_kj;  // that there is in every cluster
constexpr uint32_t NODE_PORT = 2377;

class SimulatedHost final : private kj::TaskSet::ErrorHandler {
 public:
  SimulatedHost(SimulatedWorld shared, std::string name, uint64_t seed);
  ~SimulatedHost() noexcept(false);
  KJ_DISALLOW_COPY(SimulatedHost);

  // Faults. Each does nothing where it makes no sense.
  void powerOn();
  void powerOff();
  void startOrchd();
  void crashOrchd();
  void freeze();
  void thaw();
  // Before it goes: the plugins of all lives are told to stop, which lets go of who waits for them.
  void windUp();
  // Between it and the state of several managers: calls fail, and answers do not arrive.
  void cutState(bool cuts) { stateCut = cuts; }
  // How long its disk takes to sync, at most.
  void setDisk(kj::Duration most) { syncMost = most; }

  bool powered() const { return hardware != nullptr; }
  bool running() const { return life != nullptr; }
  // The service of orchd, if it runs.
  kj::Maybe<capnp::Capability::Client> service(const std::string& name);
  // Containers that run, whatever an agent knows of them.
  size_t containers() const { return runningSince.size(); }
  // Of the leader that its agent has made durable that it follows.
  uint64_t followedEpoch() const { return followed; }
  // Whether its agent takes what it should refuse.
  bool blind() const { return shared.bug == Bug::OLD_EPOCH; }
  int64_t nowNs();

  bool manages() const { return shared.manages(name); }
  bool isStateCut() const { return stateCut; }

  const std::string name;
  VirtualMachine& machine;
  SimulatedMember member;
  MemoryStore clusterDisk;  // of the only manager
  MemoryStore agentDisk;

 private:
  struct Life;
  class HostServer;
  class RuntimeProxy;
  class FaultyDispatcher;
  class FaultyAgent;
  class Socket;
  class TrustServer;
  class StateProxy;
  std::string dataDir() const;
  kj::Duration syncTime();
  Task<void> boot(Env& env);
  void endOrchd(bool silently);
  Task<void> run(Life& now);
  Task<void> keepStarting(Life& now, kj::StringPtr instance);
  Task<void> startPlugin(Life& now, kj::StringPtr instance);
  Task<void> listen(Life& now, uint32_t port);
  Task<void> serve(kj::Own<kj::AsyncIoStream> stream, schema::Gateway::Client gateway);
  void noteStored(kj::ArrayPtr<const MemoryStore::Written> batch);
  void noteStart(const std::string& taskId, int64_t startedAtNs);
  Task<void> watch(schema::Runtime::Client of, std::string taskId, uint64_t during);
  void taskFailed(kj::Exception&& exception) override;

  SimulatedWorld shared;
  uint64_t salt;  // of the next life
  bool stateCut = false;
  kj::Duration syncMost = 4 * kj::MILLISECONDS;
  uint64_t followed = 0;
  Env* hardware = nullptr;  // from power to power
  uint64_t session = 0;     // counts them
  kj::Maybe<schema::Runtime::Client> runtime;
  std::map<std::string, int64_t> runningSince;  // containers, by task
  std::map<std::string, int64_t> lastRun;       // the same, also of those that have ended
  std::list<std::unique_ptr<Life>> lives;       // also those that are over
  Life* life = nullptr;
  std::list<schema::Plugin::Client> oldRuntimes;
  kj::TaskSet tasks;
};

}  // namespace orch::testing
