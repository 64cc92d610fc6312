#include "task-record.h"

#include <capnp/serialize.h>

#include <cstring>

namespace orch::control::agent {

namespace {
constexpr uint64_t SPARE_WORDS = 64;
constexpr uint64_t WASTED_WORDS = 1024;
}  // namespace

void TaskRecord::lose(int64_t atNs) {
  // As it was when this node forgot it, which may still be under way on the disk.
  task().setDesired(schema::TaskState::REMOVE);
  if (!advance(schema::TaskState::FAILED, atNs, "lost")) return;
  status().initContainer().setLost(true);
  status().setError("task: this node knows nothing of it any more");
}

kj::Array<capnp::word> alignedCopy(kj::ArrayPtr<const kj::byte> bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.begin(), words.asBytes().size());
  return words;
}

// Of about the right size: Cap'n Proto would begin with 8 KiB.
TaskRecord::TaskRecord(schema::Task::Reader task)
    : message(kj::heap<capnp::MallocMessageBuilder>(task.totalSize().wordCount + SPARE_WORDS)) {
  message->setRoot(task);
  if (!this->task().hasStatus()) this->task().initStatus();
}

TaskRecord::TaskRecord(kj::Array<capnp::word> words)
    : TaskRecord(capnp::FlatArrayMessageReader(words).getRoot<schema::Task>()) {}

TaskRecord::TaskRecord(kj::ArrayPtr<const kj::byte> stored) : TaskRecord(alignedCopy(stored)) {}

kj::String TaskRecord::name() {
  auto reader = task().asReader();
  auto slot = reader.getSlot() > 0 ? kj::str(reader.getSlot()) : kj::str(reader.getNodeId());
  return kj::str(reader.getServiceName(), ".", slot, ".", reader.getMeta().getId());
}

void TaskRecord::compact() {
  auto words = task().totalSize().wordCount;
  if (message->sizeInWords() < 2 * words + WASTED_WORDS) return;
  auto smaller = kj::heap<capnp::MallocMessageBuilder>(words + SPARE_WORDS);
  smaller->setRoot(task().asReader());
  message = kj::mv(smaller);
}

kj::Array<kj::byte> TaskRecord::serialize() {
  // A builder keeps the space of values that were overwritten; a copy does not.
  capnp::MallocMessageBuilder compact(task().totalSize().wordCount + 8);
  compact.setRoot(task().asReader());
  auto words = capnp::messageToFlatArray(compact);
  return kj::heapArray<kj::byte>(words.asBytes());
}

bool TaskRecord::advance(schema::TaskState next, int64_t atNs, kj::StringPtr text) {
  if (next <= state()) return false;
  auto now = status();
  now.setState(next);
  now.setAtNs(atNs);
  // By this node's clock, for as long as it is alone; the managers have their own.
  if (next == schema::TaskState::RUNNING) now.setRunningAtNs(atNs);
  if (isTerminal(next)) now.setEndedAtNs(atNs);
  now.setMessage(text);
  return true;
}

bool isClosed(schema::Task::Reader task) {
  auto legs = task.getLegs();
  bool all = legs.size() > 0 && legs.size() == task.getSpec().getNetworks().size();
  for (auto leg : legs) all &= leg.getInternal();
  return all;
}

bool isTerminal(schema::TaskState state) { return state >= schema::TaskState::COMPLETE; }

}  // namespace orch::control::agent
