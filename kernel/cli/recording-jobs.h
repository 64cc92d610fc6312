// For the recording server: what it says of jobs.
#pragma once

#include "orch/schema/cluster.capnp.h"

namespace orch::cli {

inline void fillNumbers(schema::ServiceSpec::Mode::Reader mode, schema::ServiceRow::Builder row) {
  if (!mode.isReplicatedJob()) {
    return row.setDesired(mode.isReplicated() ? mode.getReplicated().getReplicas() : 1);
  }
  row.setMode("replicated-job");
  row.setDesired(mode.getReplicatedJob().getMaxConcurrent());
  row.setCompleted(1);
  row.setTotal(mode.getReplicatedJob().getCompletions());
}

// Its third run is under way; the second failed, and the first took longer than a day.
inline void fillJob(schema::JobStatus::Builder job) {
  constexpr int64_t SECOND = 1'000'000'000;
  constexpr int64_t THIRD = 1'700'000'000 * SECOND;
  constexpr int64_t DAY = 24 * 3600 * SECOND;
  job.setIteration(3);
  job.setStartedAtNs(THIRD);
  job.setNextAtNs(THIRD + DAY);
  auto past = job.initPast(3);
  past[0].setIteration(2);
  past[0].setStartedAtNs(THIRD - DAY);
  past[0].setEndedAtNs(THIRD - DAY + 4 * SECOND);
  past[0].setCompleted(1);
  past[0].setFailed(2);
  past[0].setMessage("task web.2: task: exit (1)");
  past[1].setStartedAtNs(THIRD - 2 * DAY);
  past[1].setEndedAtNs(THIRD - 2 * DAY);
  past[1].setMessage("skipped: the run before was under way");
  past[2].setIteration(1);
  past[2].setStartedAtNs(THIRD - 3 * DAY);
  past[2].setEndedAtNs(THIRD - DAY - 60 * SECOND);
  past[2].setCompleted(3);
}

}  // namespace orch::cli
