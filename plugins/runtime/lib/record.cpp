#include "record.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/debug.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "file-access.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"

namespace orch::runtime {

namespace {

kj::String damaged(const std::string& path) {
  return kj::str("'", path.c_str(), "' is damaged: its checksum is wrong");
}

// The text; the file's damage if it cannot be read for a reason of its own.
Kept<kj::String> readKept(const std::string& path) {
  Kept<kj::String> result;
  auto read = attemptNow([&] { return readIfThere(path); });
  if (read.ok()) {
    result.value = kj::mv(read.value());
  } else if (read.error().getType() == kj::Exception::Type::OVERLOADED) {
    kj::throwFatalException(kj::mv(read.error()));
  } else {
    result.damage = kj::str(read.message());
  }
  return result;
}

}  // namespace

kj::Array<capnp::word> makeRecord(schema::ContainerRequest::Reader request, int stopSignal,
                                  int64_t nowNs) {
  capnp::MallocMessageBuilder message;
  auto record = message.initRoot<Record>();
  record.setId(request.getId());
  record.setCreatedAtNs(nowNs);
  auto from = request.getLabels();
  auto labels = record.initLabels(from.size());
  for (uint32_t i = 0; i < from.size(); ++i) {
    labels[i].setKey(from[i].getKey());
    labels[i].setValue(from[i].getValue());
  }
  record.setTaskName(request.getTaskName());
  record.setStopSignal(stopSignal);
  record.setLogMaxBytes(request.getLog().getMaxBytes());
  record.setLogMaxFiles(request.getLog().getMaxFiles());
  record.setTerminal(request.getSpec().getTty());
  record.setInteractive(request.getSpec().getInteractive());
  kj::Vector<kj::StringPtr> volumes;
  for (auto mount : request.getSpec().getMounts()) {
    if (mount.getType() == schema::Mount::Type::VOLUME && mount.getSource().size() > 0) {
      volumes.add(mount.getSource());
    }
  }
  auto list = record.initVolumes(volumes.size());
  for (uint32_t i = 0; i < volumes.size(); ++i) list.set(i, volumes[i]);
  return capnp::messageToFlatArray(message);
}

void writeRecord(const std::string& path, kj::ArrayPtr<const capnp::word> record) {
  auto bytes = record.asBytes();
  uint64_t hash = checksumOf(bytes);
  auto file = kj::heapArray<kj::byte>(bytes.size() + sizeof(hash));
  memcpy(file.begin(), bytes.begin(), bytes.size());
  memcpy(file.begin() + bytes.size(), &hash, sizeof(hash));
  replaceFile(path, file, Outlives::PROCESS);
}

Kept<kj::Array<capnp::word>> readRecord(const std::string& path) {
  auto file = readKept(path);
  Kept<kj::Array<capnp::word>> result;
  result.damage = kj::mv(file.damage);
  KJ_IF_MAYBE (text, file.value) {
    uint64_t hash;
    bool valid = text->size() > sizeof(hash) && text->size() % sizeof(capnp::word) == 0;
    if (valid) {
      auto words = kj::heapArray<capnp::word>(text->size() / sizeof(capnp::word) - 1);
      memcpy(words.begin(), text->begin(), words.asBytes().size());
      memcpy(&hash, text->begin() + words.asBytes().size(), sizeof(hash));
      valid = hash == checksumOf(words.asBytes());
      if (valid) result.value = kj::mv(words);
    }
    if (!valid) result.damage = damaged(path);
  }
  return result;
}

// A line of fields; the last one is the checksum of all before it.
void writeState(const std::string& path, const StateFile& state) {
  char text[320];
  int size = snprintf(text, sizeof(text),
                      "2 %s %d %" PRIu64 " %d %" PRIu64 " %" PRId64 " %d %d %" PRId64 " %d %d ",
                      state.bootId.c_str(), state.init.pid, state.init.startTicks, state.conmon.pid,
                      state.conmon.startTicks, state.startedAtNs, state.exited, state.code,
                      state.exitedAtNs, state.oomKilled, static_cast<int>(state.lost));
  KJ_ASSERT(size > 0 && size < 290);
  size += snprintf(text + size, sizeof(text) - size, "%016" PRIx64 "\n",
                   checksumOf(kj::arrayPtr(text, size).asBytes()));
  replaceFile(path, kj::arrayPtr(text, size).asBytes(), Outlives::PROCESS);
}

Kept<StateFile> readState(const std::string& path) {
  auto file = readKept(path);
  Kept<StateFile> result;
  result.damage = kj::mv(file.damage);
  KJ_IF_MAYBE (text, file.value) {
    StateFile state;
    char bootId[64];
    int exited, oomKilled, lost, hashAt = 0, end = 0;
    uint64_t hash = 0;
    int n = sscanf(text->cStr(),
                   "2 %63s %d %" SCNu64 " %d %" SCNu64 " %" SCNd64 " %d %d %" SCNd64
                   " %d %d %n%16" SCNx64 "%n",
                   bootId, &state.init.pid, &state.init.startTicks, &state.conmon.pid,
                   &state.conmon.startTicks, &state.startedAtNs, &exited, &state.code,
                   &state.exitedAtNs, &oomKilled, &lost, &hashAt, &hash, &end);
    // Written again it must give the same bytes: a line's end or a letter's case is no checksum.
    char last[24];
    snprintf(last, sizeof(last), "%016" PRIx64 "\n", hash);
    if (n != 12 || strcmp(text->cStr() + hashAt, last) != 0 ||
        text->size() != hashAt + strlen(last) ||
        hash != checksumOf(kj::arrayPtr(text->begin(), hashAt).asBytes())) {
      result.damage = damaged(path);
      return result;
    }
    state.bootId = bootId;
    state.exited = exited != 0;
    state.oomKilled = oomKilled != 0;
    state.lost = lost == 1 ? Lost::REBOOT : lost == 2 ? Lost::CONMON : Lost::NOT;
    result.value = kj::mv(state);
  }
  return result;
}

}  // namespace orch::runtime
