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

struct SplitWords;

class TaskReader final : private schema::Task::Reader {
  using Base = schema::Task::Reader;

 public:
  explicit TaskReader(const Snapshot& object)
      : Base(object.as<schema::Task>()),
        shared(object.shared == nullptr
                   ? static_cast<const Base&>(*this)
                   : capnp::readMessageUnchecked<schema::Task>(object.shared + 1)),
        status(object.status != nullptr
                   ? capnp::readMessageUnchecked<schema::TaskStatus>(object.status + 1)
               : Base::getNodeId().size() > 0 ? *schema::ASSIGNED_STATUS
                                              : *schema::PENDING_STATUS),
        own(object.status != nullptr) {}

  // Takes out of a task's words what all tasks of one service and spec say alike.
  static SplitWords split(const Snapshot& whole);

  using Base::getByNode;
  using Base::getDesired;
  using Base::getDesiredAtNs;
  using Base::getGeneric;
  using Base::getIteration;
  using Base::getLegs;
  using Base::getMeta;
  using Base::getNodeId;
  using Base::getRestartOf;
  using Base::getRestarts;
  using Base::getSpecVersion;
  using Base::getStartAfterNs;
  auto getServiceId() const { return shared.getServiceId(); }
  auto getServiceName() const { return shared.getServiceName(); }
  auto getSpec() const { return shared.getSpec(); }
  auto getPorts() const { return shared.getPorts(); }
  auto getServiceLabels() const { return shared.getServiceLabels(); }
  schema::TaskStatus::Reader getStatus() const { return status; }
  // Whether anything was said of it yet. If not, its status is that of a new or an assigned task.
  bool hasOwnStatus() const { return own; }
  int64_t runningAtNs() const { return status.getRunningAtNs(); }
  int64_t endedAtNs() const { return status.getEndedAtNs(); }
  std::string id() const { return text(getMeta().getId()); }
  SlotKey slot() const { return {getSlot(), getSlot() > 0 ? std::string() : text(getNodeId())}; }
  // Without what it shares with others.
  const schema::Task::Reader& record() const { return *this; }
  // Adds that to a copy of the record.
  void fillShared(schema::Task::Builder copy) const;
  // Makes a copy of the record what others see of a task: all its records in one.
  void complete(schema::Task::Builder copy, uint64_t version) const;

 private:
  schema::Task::Reader shared;  // the record itself, as long as it is not in the state
  schema::TaskStatus::Reader status;
  bool own;
};

}  // namespace orch::control::manager
