#include "state/task-reader.h"

#include <capnp/message.h>

#include <algorithm>

#include "state/kind.h"

namespace orch::control::manager {

namespace {
constexpr size_t FIRST_WORDS = 256;  // enough for most tasks
}  // namespace

SplitWords TaskReader::split(const Snapshot& whole) {
  capnp::word room[2][FIRST_WORDS] = {};
  capnp::MallocMessageBuilder common(room[0]);
  auto shared = common.initRoot<schema::Task>();
  TaskReader(whole).fillShared(shared);
  // What a later version adds to a task is not shared, and not lost.
  capnp::MallocMessageBuilder copy(room[1]);
  copy.setRoot(whole.as<schema::Task>());
  auto own = copy.getRoot<schema::Task>();
  own.disownServiceId();
  own.disownServiceName();
  own.disownSpec();
  own.disownPorts();
  own.disownServiceLabels();
  return {toWords(own.asReader()), toWords(shared.asReader())};
}

void TaskReader::fillShared(schema::Task::Builder copy) const {
  copy.setServiceId(getServiceId());
  copy.setServiceName(getServiceName());
  copy.setSpec(getSpec());
  copy.setPorts(getPorts());
  copy.setServiceLabels(getServiceLabels());
}

void TaskReader::complete(schema::Task::Builder copy, uint64_t version) const {
  fillShared(copy);
  copy.setStatus(status);
  auto meta = copy.getMeta();
  if (!own) copy.getStatus().setAtNs(meta.getUpdatedAtNs());
  meta.setVersion(version);
  meta.setUpdatedAtNs(std::max({meta.getUpdatedAtNs(), runningAtNs(), endedAtNs()}));
}

}  // namespace orch::control::manager
