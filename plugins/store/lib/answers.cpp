#include "answers.h"

#include "orch/fail.h"

namespace orch::store {

void fill(schema::CommitResult::Builder result, const CommitAnswer& answer) {
  switch (answer.kind) {
    case CommitAnswer::Kind::COMMITTED:
      result.setCommitted(answer.revision);
      break;
    case CommitAnswer::Kind::UNKNOWN:
      result.setUnknown(answer.reason.c_str());
      break;
    case CommitAnswer::Kind::REFUSED: {
      auto refused = result.initRefused();
      refused.setReason(answer.reason.c_str());
      refused.setEpoch(answer.epoch);
      auto conflicts = refused.initConflicts(answer.conflicts.size());
      for (uint32_t i = 0; i < conflicts.size(); ++i) conflicts.set(i, answer.conflicts[i].c_str());
    }
  }
}

void fill(schema::Store::ElectResults::Builder results, const ElectAnswer& answer) {
  results.setWon(answer.won);
  results.setEpoch(answer.epoch);
  results.setLeader(answer.leader.c_str());
}

void fill(schema::Store::FindResults::Builder results, std::optional<uint64_t> revision) {
  results.setFound(revision.has_value());
  results.setRevision(revision.value_or(0));
}

std::string candidateOf(schema::Store::ElectParams::Reader params) {
  if (params.getCandidate().size() == 0) {
    fail(kj::str("an election needs the name of a candidate"));
  }
  return params.getCandidate().cStr();
}

}  // namespace orch::store
