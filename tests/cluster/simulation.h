// A cluster in virtual time that a plan happens to, under the eyes of the book.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "book.h"
#include "history.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/testing/placement-oracle.h"
#include "plan.h"
#include "sim-log.h"
#include "simulated-host.h"

namespace orch::testing {

struct Outcome {
  std::string violation;  // empty: all rules were kept
  std::string log;
  uint64_t virtualMs = 0;
  uint64_t settledMs = 0;  // from the end of the last fault until all was as it should be
  uint64_t bytes = 0;      // between hosts
  uint64_t commits = 0;    // of the manager
  uint64_t starts = 0;     // of containers
  uint64_t leads = 0;      // won by one of several managers
  uint64_t takenIn = 0;    // tasks that nodes made by themselves
  uint64_t judged = 0;     // placements that the oracle compared with all others
};

class Simulation final : private kj::TaskSet::ErrorHandler {
 public:
  Simulation(Plan plan, Bug bug);
  ~Simulation() noexcept(false);
  KJ_DISALLOW_COPY(Simulation);

  // The whole plan: its steps, then no faults until all services are as they were asked to be, then
  // their end, until nothing is left of them.
  Outcome run();

 private:
  // A service as its users have been told that it is.
  struct Wish {
    bool there = false;
    bool global = false;
    uint32_t replicas = 0;
    std::string image;
    bool judged = true;  // its tasks can run for ever, and no update of it can fail
    Step last;           // that made its spec
    std::deque<Step> queue;
    bool busy = false;
  };
  struct Remembered;
  // A request, made again until it is answered.
  Task<void> keepAsking(std::string target);
  Task<void> ask(Step step, std::string requestId);
  // Asks that manager again and again what there is.
  Task<void> keepReading(std::string manager);
  Task<void> read(const std::string& manager);
  void checkRead(const std::string& manager, History::Part part, History::Print print,
                 uint64_t since, bool old);
  void fillSpec(const Step& step, const Wish& wish, schema::ServiceSpec::Builder spec);
  void acknowledged(const Step& step);

  void begin();
  void happen(const Step& step);
  void request(const Step& step);
  bool isManager(const SimulatedHost& at) const { return at.manages(); }
  // What the managers have in common.
  MemoryStore& state();
  SimulatedHost& leader() { return host(leading); }
  bool mayManagersBeDown();
  void becomeSeveral();
  void elected(const std::string& name);
  void setLinks(const std::string& name, LinkQuality out, LinkQuality in);
  void start(SimulatedHost& at);
  void freeze(SimulatedHost& at, bool freezes);
  void harm(const Step& step);
  void mend(const std::string& host);
  void healAll();
  void trouble(const std::string& host, int change);
  bool mayBeDown(const std::string& host);
  bool areAllReady();
  void wrote(kj::ArrayPtr<const MemoryStore::Written> batch);
  void remember(const std::string& host);
  void ghost(const std::string& host);
  Task<void> haunt(std::string host, Remembered& what);
  // Empty, or what is not as it should be.
  std::string unsettled();
  std::string leftovers();
  template <typename Look>
  void waitUntilEmpty(Look look, kj::Duration bound, const char* what);
  void advance(kj::Duration duration);
  void checkLimits();
  SimulatedHost& host(const std::string& name) { return *hosts.at(name); }
  std::string serviceNamed(const std::string& name) const;
  int64_t nowMs();
  int64_t nowNs();
  void taskFailed(kj::Exception&& exception) override;

  const Plan plan;
  VirtualWorld world;
  SimLog log;
  MemoryNetwork network;
  bool diskWasFull = false;  // of a node, not of the manager
  Book book;
  History history;
  PlacementOracle oracle;
  MemoryStore sharedState;                    // of several managers
  std::string folder;                         // the same
  std::string leading = MANAGER_HOST.cStr();  // the host that has won the lead last
  VirtualMachine& client;                     // where users are
  Env& clientEnv;
  std::map<std::string, std::unique_ptr<SimulatedHost>> hosts;
  std::map<std::string, Wish> wishes;  // by service, and by node for its availability
  struct Trouble {
    int active = 0;
    int64_t lastMs = -1'000'000;
  };
  std::map<std::string, Trouble> troubles;
  int64_t managerSinceMs = 0;  // its last start
  int64_t healedAtMs = 0;
  std::map<std::string, int64_t> readAtMs;  // by manager, when it has answered last what is
  std::list<std::unique_ptr<Remembered>> remembered;
  uint64_t requests = 0;
  uint64_t leads = 0;
  bool ending = false;
  kj::TaskSet tasks;
};

Outcome simulate(const Plan& plan, Bug bug);

}  // namespace orch::testing
