#include "decide/job.h"

#include <algorithm>

#include "decide/cron.h"
#include "decide/job-run.h"
#include "decide/mode.h"
#include "orch/attempt.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;

// Something of the slot runs, or may: what takes its place counts once.
bool isBusy(const View& view, const Slot& slot) {
  auto runs = [&](const TaskReader& task) { return !isStopped(view, task); };
  return stateOf(view, slot) == SlotState::LIVE ||
         std::any_of(slot.tasks.begin(), slot.tasks.end(), runs) ||
         std::any_of(slot.leaving.begin(), slot.leaving.end(), runs);
}

uint32_t completionsWanted(const View&, schema::Service::Reader service) {
  return replicasOf(service.getSpec()).orDefault(0);
}

Claim claimOfCompletion(const View&, schema::Service::Reader service, const SlotKey& key) {
  uint32_t most = replicasOf(service.getSpec()).orDefault(0);
  return key.number >= 1 && key.number <= most ? Claim::WANTED : Claim::GONE;
}

SlotPlan planCompletions(const View& view, schema::Service::Reader service, const Slots& slots,
                         const std::vector<const Slot*>& occupied) {
  SlotPlan plan;
  if (!isUnderWay(service.getJob())) return plan;
  uint32_t total = replicasOf(service.getSpec()).orDefault(0);
  uint32_t atOnce = tasksAtOnce(service.getSpec()).orDefault(0);
  auto busy = static_cast<uint32_t>(
      std::count_if(slots.begin(), slots.end(), [&](auto& slot) { return isBusy(view, slot); }));
  // Slots that there are no more are forgotten.
  plan.wantsAll = slots.goBeyond(total);
  if (plan.wantsAll) return plan;
  std::set<uint32_t> taken;
  for (auto slot : occupied) taken.insert(slot->key.number);
  auto run = service.getJob().getIteration();
  for (uint32_t number = slots.firstToDo(run, 1);
       number <= total && busy + plan.missing.size() < atOnce;
       number = slots.firstToDo(run, number + 1)) {
    if (taken.count(number) > 0) continue;
    plan.unfinished = plan.missing.size() == MAX_CHANGED_PER_PASS;
    if (plan.unfinished) return plan;
    plan.missing.push_back({number, {}});
  }
  return plan;
}

uint32_t nodesOfRun(const View& view, schema::Service::Reader service) {
  uint32_t wanted = 0;
  std::set<std::string, std::less<>> taken;
  for (auto& slot : view.slots(manager::view(service.getMeta().getId()))) {
    auto state = stateOf(view, slot);
    if (state == SlotState::DEAD) continue;
    taken.insert(slot.key.node);
    auto claim = GLOBAL.claim(view, service, slot.key);
    wanted += state == SlotState::DONE || isExpected(claim, slot);
  }
  if (!isUnderWay(service.getJob())) return wanted;
  view.anyNode([&](schema::Node::Reader node) {
    SlotKey key{0, text(node.getMeta().getId())};
    wanted += taken.count(key.node) == 0 && GLOBAL.claim(view, service, key) == Claim::WANTED;
    return false;
  });
  return wanted;
}

Claim claimOfRunOnNode(const View& view, schema::Service::Reader service, const SlotKey& key) {
  return GLOBAL.claim(view, service, key);
}

SlotPlan planRunOnNodes(const View& view, schema::Service::Reader service, const Slots& slots,
                        const std::vector<const Slot*>& occupied) {
  auto plan = GLOBAL.plan(view, service, slots, occupied);
  if (isUnderWay(service.getJob())) return plan;
  plan.missing.clear();
  plan.unfinished = plan.superfluous.size() >= MAX_CHANGED_PER_PASS;
  return plan;
}

class ScheduleKeeper final : public Reconciler {
 public:
  ScheduleKeeper(View& view, schema::Service::Reader service) : view(view), service(service) {}
  void look(const Slot&) override {}
  bool act(const Slots&) override {
    auto schedule = service.getSpec().getSchedule();
    auto id = text(service.getMeta().getId());
    auto job = service.getJob();
    if (schedule.size() == 0) {
      if (job.getIteration() == 0) begin(id);
      return false;
    }
    // A later version may have taken one that this one cannot read.
    auto cron = attemptNow([&] { return Cron::parse(manager::view(schedule)); });
    if (!cron.ok()) return false;
    int64_t dueNs = job.getNextAtNs();
    int64_t nextNs = cron.value().nextNs(view.now());
    bool due = dueNs != 0 && view.now() >= dueNs;
    if (due && isUnderWay(job)) {
      skipRun(view, id, dueNs);
    } else if (due) {
      begin(id);
    }
    // It is earlier than was thought if the clock was put back.
    if (dueNs == 0 || due || nextNs < dueNs) {
      view.editService(
          id, [&](schema::Service::Builder changed) { changed.getJob().setNextAtNs(nextNs); });
    }
    view.wakeAt(id, nextNs);
    return false;
  }
  Step result() const override { return step; }

 private:
  void begin(const std::string& id) {
    beginRun(view, id, {});
    step.changed = true;
  }

  View& view;
  schema::Service::Reader service;
  Step step;
};

class PastRunEnder final : public Reconciler {
 public:
  explicit PastRunEnder(View& view) : view(view) {}
  void look(const Slot& slot) override {
    if (step.unfinished) return;
    bool completed = hasCompleted(view, slot);
    for (auto& task : slot.tasks) {
      bool over = completed ? !isTerminal(task) : isOfPastRun(view, task);
      if (!isWanted(task) || !over) continue;
      setDesired(view, task, TaskState::SHUTDOWN);
      step.unfinished = ++ended == MAX_CHANGED_PER_PASS;
      step.changed = true;
    }
  }
  Step result() const override { return step; }

 private:
  View& view;
  uint32_t ended = 0;
  Step step;
};

class RunConcluder final : public Reconciler {
 public:
  RunConcluder(View& view, schema::Service::Reader service) : view(view), service(service) {}
  void look(const Slot&) override {}
  bool act(const Slots&) override {
    if (!isUnderWay(service.getJob())) return false;
    auto count = countRun(view, service);
    if (view.base().verdicts().open()) return false;  // a filter has yet to say where it may run
    if (count.isOver()) endRun(view, text(service.getMeta().getId()), count);
    return false;
  }
  Step result() const override { return {}; }

 private:
  View& view;
  schema::Service::Reader service;
};

}  // namespace

const Mode REPLICATED_JOB = {"replicated-job"_kj, completionsWanted, claimOfCompletion,
                             planCompletions, true};
const Mode GLOBAL_JOB = {"global-job"_kj, nodesOfRun, claimOfRunOnNode, planRunOnNodes, true};

kj::Own<Reconciler> keepSchedule(View& view, schema::Service::Reader service) {
  return kj::heap<ScheduleKeeper>(view, service);
}

kj::Own<Reconciler> endPastRuns(View& view, schema::Service::Reader) {
  return kj::heap<PastRunEnder>(view);
}

kj::Own<Reconciler> concludeRun(View& view, schema::Service::Reader service) {
  return kj::heap<RunConcluder>(view, service);
}

}  // namespace orch::control::manager
