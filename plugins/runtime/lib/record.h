// The files by which containers survive the plugin. `record` says what was asked for and is written
// once; `state` says how far it came and is rewritten at each step. Neither is synced: after a
// power loss the containers are gone in any case, and a damaged file means a half-made container.
// All of it blocks: for worker threads.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/string.h>

#include <cstdint>
#include <string>

#include "orch/schema/runtime.capnp.h"
#include "record.capnp.h"

namespace orch::runtime {

struct StateFile {
  std::string bootId;
  int pid = 0;              // of the container's init, in this boot
  uint64_t startTicks = 0;  // of that process, field 22 of /proc/<pid>/stat
  int64_t startedAtNs = 0;  // 0: created only
  bool exited = false;
  int code = 0;
  int64_t exitedAtNs = 0;
  bool oomKilled = false;
};

kj::Array<capnp::word> makeRecord(schema::ContainerRequest::Reader request, int stopSignal,
                                  int64_t nowNs);
void writeRecord(const std::string& path, kj::ArrayPtr<const capnp::word> record);
// Null if it is missing or damaged.
kj::Maybe<kj::Array<capnp::word>> readRecord(const std::string& path);

void writeState(const std::string& path, const StateFile& state);
kj::Maybe<StateFile> readState(const std::string& path);

// Replaces the file in one step.
void writeWhole(const std::string& path, kj::ArrayPtr<const kj::byte> bytes);
// In one write to a file that does not exist yet.
void writeNew(const std::string& path, kj::ArrayPtr<const kj::byte> bytes);

}  // namespace orch::runtime
