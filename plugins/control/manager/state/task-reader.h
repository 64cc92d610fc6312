// Tasks as everybody reads them: what a task is and what became of it so far are two records, so
// that each step of its life writes the small one alone.
#pragma once

#include "orch/schema/objects.capnp.h"
#include "state/object.h"

namespace orch::control::manager {

// A place for one task of a service: a number, or a node that is to have one.
struct SlotKey {
  uint32_t number = 0;  // 0: by node
  std::string node;     // empty unless by node
  auto operator<=>(const SlotKey&) const = default;
};
// "3", or the node's id.
inline std::string nameOf(const SlotKey& slot) {
  return slot.number > 0 ? std::to_string(slot.number) : slot.node;
}

class TaskReader final : private schema::Task::Reader {
  using Base = schema::Task::Reader;

 public:
  explicit TaskReader(const Snapshot& object)
      : Base(object.as<schema::Task>()),
        status(object.status != nullptr
                   ? capnp::readMessageUnchecked<schema::TaskStatus>(object.status + 1)
               : Base::getNodeId().size() > 0 ? *schema::ASSIGNED_STATUS
                                              : *schema::PENDING_STATUS),
        own(object.status != nullptr) {}

  using Base::getDesired;
  using Base::getDesiredAtNs;
  using Base::getLegs;
  using Base::getMeta;
  using Base::getNodeId;
  using Base::getPorts;
  using Base::getRestartOf;
  using Base::getRestarts;
  using Base::getServiceId;
  using Base::getServiceName;
  using Base::getSpec;
  using Base::getSpecVersion;
  using Base::getStartAfterNs;
  schema::TaskStatus::Reader getStatus() const { return status; }
  // Whether anything was said of it yet. If not, its status is that of a new or an assigned task.
  bool hasOwnStatus() const { return own; }
  int64_t runningAtNs() const { return status.getRunningAtNs(); }
  int64_t endedAtNs() const { return status.getEndedAtNs(); }
  std::string id() const { return text(getMeta().getId()); }
  SlotKey slot() const { return {getSlot(), getSlot() > 0 ? std::string() : text(getNodeId())}; }
  const schema::Task::Reader& record() const { return *this; }
  // Makes a copy of the record what others see of a task: both records in one.
  void complete(schema::Task::Builder copy, uint64_t version) const;

 private:
  schema::TaskStatus::Reader status;
  bool own;
};

}  // namespace orch::control::manager
