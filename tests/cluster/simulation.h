// A cluster in virtual time that a plan happens to, under the eyes of the book.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "book.h"
#include "orch/schema/cluster.capnp.h"
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
  void fillSpec(const Step& step, const Wish& wish, schema::ServiceSpec::Builder spec);
  void acknowledged(const Step& step);

  void begin();
  void happen(const Step& step);
  void request(const Step& step);
  static bool isManager(const SimulatedHost& at);
  void start(SimulatedHost& at);
  void freeze(SimulatedHost& at, bool freezes);
  void harm(const Step& step);
  void mend(const std::string& host);
  void healAll();
  void trouble(const std::string& host, int change);
  bool mayBeDown(const std::string& host);
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
  void taskFailed(kj::Exception&& exception) override;

  const Plan plan;
  VirtualWorld world;
  SimLog log;
  MemoryNetwork network;
  Book book;
  VirtualMachine& client;  // where users are
  Env& clientEnv;
  std::map<std::string, std::unique_ptr<SimulatedHost>> hosts;
  std::map<std::string, Wish> wishes;  // by service, and by node for its availability
  struct Trouble {
    int active = 0;
    int64_t lastMs = -1'000'000;
  };
  std::map<std::string, Trouble> troubles;
  int64_t managerSinceMs = 0;  // its last start
  std::list<std::unique_ptr<Remembered>> remembered;
  uint64_t requests = 0;
  bool ending = false;
  kj::TaskSet tasks;
};

Outcome simulate(const Plan& plan, Bug bug);

}  // namespace orch::testing
