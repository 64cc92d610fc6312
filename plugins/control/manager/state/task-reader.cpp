#include "state/task-reader.h"

#include <algorithm>

namespace orch::control::manager {

void TaskReader::complete(schema::Task::Builder copy, uint64_t version) const {
  copy.setStatus(status);
  auto meta = copy.getMeta();
  if (!own) copy.getStatus().setAtNs(meta.getUpdatedAtNs());
  meta.setVersion(version);
  meta.setUpdatedAtNs(std::max({meta.getUpdatedAtNs(), runningAtNs(), endedAtNs()}));
}

}  // namespace orch::control::manager
