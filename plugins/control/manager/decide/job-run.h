// The runs of a job, as its service has them: each makes every task anew. Pure.
#pragma once

#include <string>

#include "decide/slot-rules.h"

namespace orch::control::manager {

inline bool isUnderWay(schema::JobStatus::Reader job) {
  return job.getIteration() > 0 && job.getEndedAtNs() == 0;
}

// Slots of the newest run.
struct RunCount {
  uint32_t live = 0;
  uint32_t completed = 0;
  uint32_t failed = 0;  // given up
  std::string failure;  // of the first of those
  uint32_t total = 0;   // that it is made of
  bool isOver() const { return live == 0 && completed + failed >= total; }
};
RunCount countRun(const View& view, schema::Service::Reader service);
// Why the slot, which is done, was given up.
std::string whyGivenUp(const Slot& slot);

// The next run. One that is under way ends before it has completed, for this reason.
void beginRun(View& view, const std::string& serviceId, const std::string& why);
// The run that is under way has ended.
void endRun(View& view, const std::string& serviceId, const RunCount& count);
// The schedule would have started a run at that time, but one was under way.
void skipRun(View& view, const std::string& serviceId, int64_t dueNs);

// The spec of a job is another than `old`. Its tasks are made anew if that changes them
// (`tasksChange`) or their number; with a schedule only where a run is under way or a user asks for
// it (`--force`): the next one comes by itself.
void changeRun(View& view, const std::string& serviceId, schema::ServiceSpec::Reader old,
               bool tasksChange);

}  // namespace orch::control::manager
