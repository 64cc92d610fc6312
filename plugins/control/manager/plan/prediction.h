// What would become of the cluster: the manager's own decisions, over and over, on a view that is
// thrown away, with agents that do at once what they are told. Nothing is written. While it runs,
// the state must not change.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "decide/dirty-queue.h"
#include "orch/schema/cluster.capnp.h"
#include "schedule/scheduling.h"
#include "state/view.h"

namespace orch::control::manager {

struct PredictedStep {
  schema::PlannedStep::Action action;
  std::string service;
  SlotKey slot;
  std::string nodeId;
  int64_t atNs = 0;    // after the beginning
  std::string reason;  // why it waits
  std::string image;   // of what starts
};

class Prediction final {
 public:
  // A plan says no more than so many steps.
  static constexpr size_t MAX_STEPS = 2'000;

  // `view` has the changes already.
  Prediction(Env& env, Config::Reader settings, Scheduling& scheduling, View& view);
  KJ_DISALLOW_COPY(Prediction);

  // Until nothing more happens by itself.
  Task<void> run();
  // Services that something was decided about, by id.
  const std::set<std::string>& services() const { return involved; }
  const std::vector<PredictedStep>& steps() const { return taken; }
  bool isUnfinished() const { return unfinished; }

 private:
  Task<void> decide();
  Task<void> reconcile(std::string serviceId);
  // To its end, with turns for others.
  // When to look again.
  Task<int64_t> workOff(DirtyKey key);
  // False if no agent has anything to do.
  bool act();
  bool actOn(const TaskReader& task);
  // To the next time that somebody waits for; false if nobody does.
  bool wait();
  void lookAtWaiting();
  // Moves tasks to even the nodes out, if it is time to.
  Task<void> rebalance();
  void lookAtDependents(capnp::Text::Reader serviceName);
  void noteWaiting();
  void note(schema::PlannedStep::Action action, const TaskReader& task, std::string reason = {});

  Env& env;
  Config::Reader settings;
  Scheduling& scheduling;
  View& view;
  const int64_t beganNs;
  std::set<std::string> dirty;  // services to look at
  std::set<std::string> involved;
  std::set<std::string> seen;  // services whose tasks have all been looked at once
  std::map<std::string, int64_t> wakes;
  std::vector<PredictedStep> taken;
  int64_t rebalanceAtNs;
  bool freed = false;  // there may be room for tasks that wait
  bool unfinished = false;
};

}  // namespace orch::control::manager
