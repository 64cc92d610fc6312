// The files by which containers survive the plugin. `record` says what was asked for and is written
// once, to the disk and, for as long as the node is up, to the bundle; `state` says how far it came
// and is rewritten at each step. Both end with a checksum. Neither is synced: after a power loss
// the containers are gone in any case. All of it blocks: for worker threads.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/string.h>

#include <cstdint>
#include <string>

#include "orch/schema/runtime.capnp.h"
#include "process-table.h"
#include "record.capnp.h"

namespace orch::runtime {

// Why the exit status of an ended container is not known.
enum class Lost { NOT, REBOOT, CONMON };

struct StateFile {
  std::string bootId;
  ProcessName init;  // the container's own first process, in this boot
  ProcessName conmon;
  int64_t startedAtNs = 0;  // 0: created only
  bool exited = false;
  int code = 0;
  int64_t exitedAtNs = 0;
  bool oomKilled = false;
  Lost lost = Lost::NOT;
};

// What a file said. Neither of the two: there is no such file.
template <typename T>
struct Kept {
  kj::Maybe<T> value;
  kj::Maybe<kj::String> damage;  // why it cannot be used, with its path
};

kj::Array<capnp::word> makeRecord(schema::ContainerRequest::Reader request, int stopSignal,
                                  int64_t nowNs);
void writeRecord(const std::string& path, kj::ArrayPtr<const capnp::word> record);
// Fails if the system has no descriptors or memory left: that says nothing about the file.
Kept<kj::Array<capnp::word>> readRecord(const std::string& path);

void writeState(const std::string& path, const StateFile& state);
Kept<StateFile> readState(const std::string& path);

}  // namespace orch::runtime
