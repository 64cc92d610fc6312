// For the tests: a manager with a real scheduler over a model of a store, and nodes whose agents
// follow a script, all in virtual time.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "orch/plugin.h"
#include "orch/schema/agent.capnp.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/schema/filter.capnp.h"
#include "orch/schema/integration.capnp.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/testing/memory-store.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::control::manager {

// The manager, for newPlugin.
kj::Own<PluginInstance> makeManager(Env& env, Host& host, capnp::AnyPointer::Reader settings);

// A module of the build tree, as its plugin's capability.
schema::Plugin::Client loadModule(Env& env, const char* name);

// What a node does with its tasks: by default each gets ready, runs when it should and stops when
// it should, without taking time.
class ScriptedNode final : private kj::TaskSet::ErrorHandler {
 public:
  struct Seen {
    schema::TaskState desired;
    schema::TaskState state;
    std::string image;
    std::string serviceName;
    uint32_t slot;
    std::string login = "";  // registry, user, password
  };
  ScriptedNode(testing::VirtualWorld& world, schema::Dispatcher::Client dispatcher, std::string id);
  ~ScriptedNode() noexcept(false);

  uint64_t cpuNanos = 8'000'000'000;
  uint64_t memoryBytes = 16ull << 30;
  uint32_t addresses = 0;  // of the network `bridge`; 0: it reports none
  // What becomes of a task that should run; RUNNING by default.
  std::function<schema::TaskState(const std::string& taskId, const Seen& task)> onStart;
  bool obeysStop = true;
  bool restarted = false;  // how its tasks ended it does not know
  bool beats = true;
  bool answersPing = false;
  // Of a program that is run in one of its tasks.
  std::function<schema::RunningProgram::Client(schema::Agent::ExecParams::Reader)> onExec;
  // Which tasks it was asked about, in one call; each uses 7 ns. `silent`: it does not answer.
  std::vector<std::vector<std::string>> measured;
  bool silent = false;
  bool confirms = true;  // that what it was told of others is in force; else with `confirm`

  void open();
  // The connection is lost: nothing is sent any more.
  void cut();
  // The session is closed by the node.
  void close(bool leaves);
  void confirm();
  void report(const std::string& taskId, schema::TaskState state, const std::string& error = "");
  uint32_t running() const;
  bool connected() const { return session != nullptr; }
  schema::Session::Client& current();
  void offer(const std::map<std::string, std::vector<std::string>>& images);  // digests, names

  std::map<std::string, Seen> tasks;           // what it has
  std::map<std::string, std::string> volumes;  // and who uses each, if anybody
  std::vector<std::string> gone;               // told to forget, in order
  uint32_t completeSets = 0;
  uint64_t epoch = 0;
  size_t mostRunning = 0;
  std::string blob = "content";      // whichever is read
  bool sends = true;                 // else it answers to no read
  uint32_t reads = 0;                // it was asked for so many parts
  std::string lastRead;              // image, blob, offset, bytes
  std::vector<std::string> drivers;  // of networks that span hosts; with one it says its address
  std::string address = "192.168.0.1:2377";
  std::vector<std::string> routes;                                  // of the host
  std::function<void(schema::NodeDescription::Builder)> describes;  // what else it says of itself
  std::vector<std::string> unanswered;                              // published ports of others
  // What it was told of networks.
  struct Peer {
    std::string address, address6, nodeAddress;
    bool serving = false;
    std::string key = "";
    bool operator==(const Peer&) const = default;
  };
  std::set<std::string> networks;            // ids
  std::map<std::string, Peer> peers;         // by network/task
  std::map<std::string, std::string> names;  // of services: address and aliases
  std::map<std::string, std::string> nodes;  // others that take connections: address and ports
  uint64_t orders = 0;                       // assignments that came
  // Of the last check of its networks: "front repair: network, service, peer, peer".
  std::string checked;
  std::vector<std::array<std::string, 4>>
      wrong;            // network, object, expected, found: of the kernel's
  uint32_t untold = 0;  // so many checks will find that it was not told all
  bool answersChecks = true;
  bool forgetsWrong = false;  // with the first answer
  // In serve/network-check-test.cpp.
  void answerCheck(schema::Agent::CheckNetworksParams::Reader params,
                   schema::Agent::CheckNetworksResults::Builder results);
  uint64_t orderWords = 0;  // and their size

 private:
  friend class ScriptedAgent;
  void follow(const std::string& taskId);
  void forgetNetworks();
  void takeNetwork(schema::Assignment::Reader assignment);
  void forgetNetwork(schema::AssignedObject::Reader gone);
  Task<void> openSession();
  Task<void> heartbeats();
  Task<void> send(std::string taskId, schema::TaskState state, std::string error);
  void taskFailed(kj::Exception&&) override {}

  testing::VirtualWorld& world;
  schema::Dispatcher::Client dispatcher;
  std::string id;
  kj::Maybe<schema::Session::Client> session;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> unconfirmed;
  std::vector<std::pair<std::string, schema::TaskState>> unheard;  // for the next session
  std::shared_ptr<ScriptedNode*> link;                             // with the agent's capability
  kj::Promise<void> beating;
  kj::TaskSet reports;
};

struct Spec {
  std::string name = "web";
  uint32_t replicas = 1;
  std::string image = "web:1";
  std::function<void(schema::ServiceSpec::Builder)> more;
};

// A world with one manager.
class TestCluster {
 public:
  explicit TestCluster(uint32_t maxOps = 1000, uint64_t seed = testing::testSeed(),
                       kj::StringPtr dataDir = "/nowhere/data");
  ~TestCluster() noexcept(false);

  // Starts the manager; again after `stop`.
  void start();
  void stop();
  ScriptedNode& addNode(std::string id = "node1");

  std::string create(const Spec& spec);
  std::string update(const Spec& spec);
  void scale(const std::string& name, uint32_t replicas);
  kj::Promise<void> scaleAsync(const std::string& name, uint32_t replicas);
  std::string remove(const std::string& name);
  // The text that the call fails with; empty if it does not.
  std::string createError(const Spec& spec);
  capnp::Response<schema::ClusterControl::ServiceResults> service(const std::string& name);
  capnp::Response<schema::ClusterControl::TasksResults> tasks(const std::string& name,
                                                              const char* desired = "running");
  capnp::Response<schema::ClusterControl::ProgressResults> progress(const std::string& name);
  // "running running pending", by slot.
  std::string states(const std::string& name, const char* desired = "running");
  void advance(kj::Duration time) { world.advance(time); }
  void settle();
  // One more plugin whose service the manager finds, as `scheduler.binpack`.
  capnp::Capability::Client use(const char* name);
  // The scheduler that the manager is given.
  schema::Scheduler::Client spread() { return spreading; }
  // The filter of constraints.
  schema::Filter::Client constraint() { return filtering; }

  testing::VirtualWorld world;
  testing::MemoryStore store;
  testing::TestHost host;
  schema::ClusterControl::Client control = nullptr;
  schema::Dispatcher::Client dispatcher = nullptr;
  schema::TaskFeed::Client tasksFeed = nullptr;
  std::map<std::string, schema::PeerService::Client> peers;  // what other hosts may have
  bool autoInit = true;
  Env* machine = nullptr;  // that the manager runs on; null: the world's

 private:
  void fill(schema::ServiceSpec::Builder target, const Spec& spec);
  std::string nextRequestId();

  kj::Maybe<schema::Plugin::Client> plugin;
  struct Used;
  std::vector<std::unique_ptr<Used>> used;  // plugins, with what each is told of its node
  schema::Scheduler::Client spreading = nullptr;
  schema::Filter::Client filtering = nullptr;
  std::vector<std::unique_ptr<ScriptedNode>> nodes;
  uint32_t requests = 0;
};

// Two nodes that are ready, and four replicas of `web` on them.
struct FourOnTwo {
  FourOnTwo() : one((cluster.start(), cluster.addNode("node1"))), two(cluster.addNode("node2")) {
    one.open();
    two.open();
    cluster.create({"web", 4});
    cluster.settle();
  }
  TestCluster cluster;
  ScriptedNode& one;
  ScriptedNode& two;
};

}  // namespace orch::control::manager
