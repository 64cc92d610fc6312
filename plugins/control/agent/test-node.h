// For the tests: an agent over models of its edges, in virtual time. The edges outlive it, as a
// node's disk and containers outlive orchd.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent.h"
#include "orch/testing/memory-store.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::control::agent {

// Containers that run until they are told otherwise.
struct FakeRuntime {
  struct Container {
    uint32_t starts = 0;  // how often its program was begun: more than once is what must never be
    bool exited = false;
    int code = 0;
    int64_t startedAtNs = 0;
    std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  };
  void exit(const std::string& id, int code);
  // No call is answered any more, until `resume`.
  void hang();
  void resume();
  // Its process has gone: calls fail with DISCONNECTED, and so do those under way.
  void die();
  uint32_t running() const;
  schema::Runtime::Client client();

  std::map<std::string, Container> containers;
  std::map<std::string, uint32_t> everStarted;  // also of those that were removed
  std::function<void(const std::string& id)> onStart = [](const std::string&) {};
  // A program that is run in a container: its exit code, -1 for one that takes too long. Throws for
  // one that cannot be run.
  std::function<int(const std::string& id)> onRun = [](const std::string&) { return 0; };
  // One that somebody looks on.
  std::function<schema::RunningProgram::Client(schema::Runtime::ExecParams::Reader)> onExec;
  // Those that were asked of, in one call; each that runs uses 7 ns.
  std::vector<std::vector<std::string>> measured;
  std::function<int64_t()> nowNs = [] { return 0; };
  std::vector<std::string> commands;  // of those, words joined
  bool dead = false;
  bool obeys = true;  // a stop ends a container; else it waits for that
  bool usesImages = false;
  uint32_t calls = 0;
  kj::Maybe<kj::ForkedPromise<void>> hanging;
  kj::Own<kj::PromiseFulfiller<void>> hangs;
};

struct FakeNetwork {
  std::vector<std::vector<std::string>> retained;
  std::set<std::string> attached;
  bool dead = false;
  bool busy = false;  // connections to tasks are under way, until `quieten`
  void quieten() {
    busy = false;
    for (auto& one : draining) one->fulfill();
  }
  std::vector<std::string> drained;  // tasks, and for how long at most
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> draining;
  std::string subnet = "172.30.0.0/16";
  schema::NetworkDriver::Client client();
};

// Images by their digests.
struct FakeImages {
  struct Image {
    uint64_t keptBytes = 0;
    std::vector<std::string> names;
    std::vector<std::string> pulled;
  };
  std::map<std::string, Image> images;
  std::vector<std::string> ensured;  // references, and the passwords that came with them
  std::string password;              // without it nothing is given, if not empty
  bool slow = false;                 // transfers do not end
  std::function<void(schema::ImageConfig::Builder)> configure = [](auto) {};
  std::vector<std::string> limits;  // bytes, what is needed, and for how long one is kept
  bool dead = false;
  schema::ImageStore::Client client();
};

// What the managers hear of the node.
struct FakeManager {
  struct Report {
    schema::TaskState state;
    std::string error;
    bool lost = false;
    std::string message;
    schema::Health health = schema::Health::NONE;
    std::string healthOutput;
  };
  struct Restart {
    std::string ended;
    schema::TaskState endedState;
    std::string next;
    uint32_t restarts;
  };
  std::map<std::string, Report> tasks;        // the last word
  std::vector<Restart> restarts;              // that the last session was opened with
  kj::Promise<void> opening = kj::READY_NOW;  // what the next session waits for
  std::vector<size_t> reportSizes;
  std::vector<uint32_t> lags;                                     // one per heartbeat
  std::map<std::string, std::pair<uint32_t, uint32_t>> networks;  // total, used
  std::vector<std::string> routes;
  std::string balancer;
  std::string encryptionKey, encryptionProblem;
  std::map<std::string, std::vector<std::string>> offered;  // images: digests, names
  uint32_t offers = 0;                                      // times that it was told of them
  uint64_t imageLimit = 0;
  uint32_t sessions = 0;
  uint32_t nextMs = 1000;
  kj::Maybe<schema::Agent::Client> agent;  // of the last session
  uint64_t generation = 0;
  // Its sessions are over, and no new one is given.
  void leave() { ++generation, away = true; }
  void comeBack() { away = false; }
  bool away = false;
  bool silent = false;  // beats are taken, and not answered: the link is half open
  schema::Dispatcher::Client client();
};

class TestAgent {
 public:
  explicit TestAgent(uint32_t maxOps = 1000, uint64_t seed = testing::testSeed());
  ~TestAgent() noexcept(false);

  // A life of orchd. The one before ends as by SIGKILL.
  void start();
  void crash();
  // As other plugins of the node have the agent.
  schema::Agent::Client forPlugins();
  schema::TaskFeed::Client feed();

  struct Wanted {
    std::string id;
    schema::TaskState desired = schema::TaskState::RUNNING;
    schema::TaskState known = schema::TaskState::NEW;  // what the manager has heard
    std::vector<std::string> networks = {"none"};
    std::function<void(schema::Task::Builder)> more = [](schema::Task::Builder) {};
    std::string password = "";  // of a login
  };
  struct Order {
    uint64_t epoch = 1;
    bool complete = false;
    std::vector<Wanted> tasks;
    std::vector<std::string> gone;
  };
  // Empty, or what it fails with.
  std::string assign(const Order& order);
  Task<Outcome<void>> assigning(const Order& order);
  // The last life's capability, which a deposed manager may still hold.
  void advance(kj::Duration time) { world.advance(time); }

  struct Stored {
    schema::TaskState desired;
    schema::TaskState state;
  };
  std::map<std::string, Stored> stored();
  std::string storedBytes() { return store.allValues(); }
  schema::TaskState reported(const std::string& id);

  testing::VirtualWorld world;
  testing::MemoryStore store;
  FakeRuntime runtime;
  FakeNetwork network;
  FakeImages images;
  FakeManager manager;
  testing::TestHost host;

 private:
  struct Life;
  std::unique_ptr<Life> life;
};

}  // namespace orch::control::agent
