// One task of this node as the agent keeps it: the manager's object with the status that the agent
// writes. Also the words for states.
#pragma once

#include <capnp/message.h>
#include <kj/array.h>

#include <string>

#include "orch/schema/objects.capnp.h"

namespace orch::control::agent {

class TaskRecord final {
 public:
  explicit TaskRecord(schema::Task::Reader task);
  // From the store.
  explicit TaskRecord(kj::ArrayPtr<const kj::byte> stored);
  KJ_DISALLOW_COPY(TaskRecord);

  schema::Task::Builder task() { return message->getRoot<schema::Task>(); }
  schema::TaskStatus::Builder status() { return task().getStatus(); }
  schema::TaskState state() { return status().getState(); }
  kj::StringPtr id() { return task().getMeta().getId(); }
  // Made by this node while it was cut off; no manager is known to have it.
  bool isLocal() { return task().getMeta().getVersion() == 0; }
  // web.1.<id>
  kj::String name();
  // Rewritten compactly, for the store.
  kj::Array<kj::byte> serialize();

  // Lets go of the space of values that were overwritten, if it has become much. All that was taken
  // out of the record before is invalid then.
  void compact();

  // Moves on to `state`. Never back: false if it is there already or further.
  bool advance(schema::TaskState state, int64_t atNs, kj::StringPtr message);
  // To its end, of which nobody knows anything.
  void lose(int64_t atNs);

 private:
  explicit TaskRecord(kj::Array<capnp::word> words);
  kj::Own<capnp::MallocMessageBuilder> message;
};

// Stored bytes as Cap'n Proto reads them.
kj::Array<capnp::word> alignedCopy(kj::ArrayPtr<const kj::byte> bytes);

// It is on internal networks and on nothing else, not even on `bridge` by name: there is no way
// out.
bool isClosed(schema::Task::Reader task);

// Nothing follows it.
bool isTerminal(schema::TaskState state);

}  // namespace orch::control::agent
