#include "decide/job-run.h"

#include <algorithm>

#include "decide/mode.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

namespace {
constexpr uint32_t PAST_RUNS = 10;

struct PastRun {
  uint64_t iteration = 0;
  int64_t startedAtNs = 0;
  uint32_t completed = 0;
  uint32_t failed = 0;
  std::string message;
};

void addPast(View& view, schema::JobStatus::Builder job, const PastRun& run) {
  capnp::MallocMessageBuilder message;
  auto before = job.asReader().getPast();
  auto past = message.initRoot<schema::JobStatus>().initPast(
      std::min<uint32_t>(before.size() + 1, PAST_RUNS));
  past[0].setIteration(run.iteration);
  past[0].setStartedAtNs(run.startedAtNs);
  past[0].setEndedAtNs(view.now());
  past[0].setCompleted(run.completed);
  past[0].setFailed(run.failed);
  past[0].setMessage(run.message.c_str());
  for (uint32_t i = 1; i < past.size(); ++i) past.setWithCaveats(i, before[i - 1]);
  job.setPast(past);
}

void close(View& view, schema::JobStatus::Builder job, const RunCount& count,
           const std::string& message) {
  addPast(view, job,
          {job.getIteration(), job.getStartedAtNs(), count.completed, count.failed, message});
  job.setEndedAtNs(view.now());
}
}  // namespace

std::string whyGivenUp(const Slot& slot) {
  auto newest = slot.tasks.back();
  auto status = newest.getStatus();
  auto policy = newest.getSpec().getRestart();
  auto why = text(status.getError().size() > 0 ? status.getError() : status.getMessage());
  if (policy.getCondition() == schema::RestartPolicy::Condition::NONE) return why;
  return why + "; no attempt is left of " + std::to_string(policy.getMaxAttempts());
}

RunCount countRun(const View& view, schema::Service::Reader service) {
  RunCount count;
  auto name = text(service.getSpec().getName());
  SlotsReader reader(view, manager::view(service.getMeta().getId()), Extent::RESTLESS);
  while (reader.read()) {
  }
  auto slots = reader.take();
  count.completed = slots.completed(service.getJob().getIteration());
  auto& mode = *modeOf(service.getSpec());
  for (auto& slot : slots) {
    if (hasCompleted(view, slot)) {
      ++count.completed;
      continue;
    }
    auto state = stateOf(view, slot);
    if (state == SlotState::LIVE) {
      count.live += isExpected(mode.claim(view, service, slot.key), slot);
    } else if (state == SlotState::DONE && count.failed++ == 0) {
      count.failure = "task " + name + "." + nameOf(slot.key) + ": " + whyGivenUp(slot);
    }
  }
  count.total = mode.desired(view, service);
  return count;
}

void beginRun(View& view, const std::string& serviceId, const std::string& why) {
  auto service = KJ_ASSERT_NONNULL(view.service(serviceId));
  RunCount count;
  bool interrupts = isUnderWay(service.getJob());
  if (interrupts) count = countRun(view, service);
  view.editService(serviceId, [&](schema::Service::Builder changed) {
    auto job = changed.getJob();
    if (interrupts) close(view, job, count, why);
    job.setIteration(job.getIteration() + 1);
    job.setStartedAtNs(view.now());
    job.setEndedAtNs(0);
  });
}

void endRun(View& view, const std::string& serviceId, const RunCount& count) {
  auto why = count.failure;
  bool nowhere = count.total == 0 && isByNode(KJ_ASSERT_NONNULL(view.service(serviceId)).getSpec());
  if (nowhere) why = "no node meets its constraints";
  view.editService(serviceId, [&](schema::Service::Builder changed) {
    close(view, changed.getJob(), count, why);
  });
}

void skipRun(View& view, const std::string& serviceId, int64_t dueNs) {
  view.editService(serviceId, [&](schema::Service::Builder changed) {
    addPast(view, changed.getJob(), {0, dueNs, 0, 0, "skipped: the run before was under way"});
  });
}

void changeRun(View& view, const std::string& serviceId, schema::ServiceSpec::Reader old,
               bool tasksChange) {
  auto service = KJ_ASSERT_NONNULL(view.service(serviceId));
  auto spec = service.getSpec();
  if (old.getSchedule() != spec.getSchedule()) {
    view.editService(serviceId,
                     [](schema::Service::Builder changed) { changed.getJob().setNextAtNs(0); });
  }
  bool forced = old.getTask().getForceUpdate() != spec.getTask().getForceUpdate();
  bool others = tasksChange || replicasOf(old).orDefault(0) != replicasOf(spec).orDefault(0);
  bool now = spec.getSchedule().size() == 0 || isUnderWay(service.getJob()) || forced;
  if (others && now) beginRun(view, serviceId, "the service was changed");
}

}  // namespace orch::control::manager
