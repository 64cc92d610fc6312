#include "record.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>

#include "etc-files.h"
#include "orch/attempt.h"

namespace orch::runtime {

namespace {

void writeFile(const std::string& path, kj::ArrayPtr<const kj::byte> bytes, int flags) {
  int fd;
  KJ_SYSCALL(fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644), path.c_str());
  kj::FdOutputStream(kj::AutoCloseFd(fd)).write(bytes.begin(), bytes.size());
}

}  // namespace

void writeWhole(const std::string& path, kj::ArrayPtr<const kj::byte> bytes) {
  std::string temporary = path + ".new";
  writeFile(temporary, bytes, O_TRUNC);
  KJ_SYSCALL(rename(temporary.c_str(), path.c_str()), path.c_str());
}

void writeNew(const std::string& path, kj::ArrayPtr<const kj::byte> bytes) {
  writeFile(path, bytes, O_TRUNC);
}

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
  writeWhole(path, record.asBytes());
}

kj::Maybe<kj::Array<capnp::word>> readRecord(const std::string& path) {
  auto text = readSmallFile(path.c_str());
  auto words = kj::heapArray<capnp::word>(text.size() / sizeof(capnp::word));
  if (words.size() == 0) return nullptr;
  memcpy(words.begin(), text.begin(), words.asBytes().size());
  auto valid = attemptNow([&] {
    capnp::FlatArrayMessageReader reader(words);
    auto record = reader.getRoot<Record>();
    for (auto label : record.getLabels()) (void)label.getKey().size();
    return record.getId().size() > 0;
  });
  if (!valid.ok() || !valid.value()) return nullptr;
  return kj::mv(words);
}

void writeState(const std::string& path, const StateFile& state) {
  char text[256];
  int size =
      snprintf(text, sizeof(text), "1 %s %d %" PRIu64 " %" PRId64 " %d %d %" PRId64 " %d .\n",
               state.bootId.c_str(), state.pid, state.startTicks, state.startedAtNs, state.exited,
               state.code, state.exitedAtNs, state.oomKilled);
  KJ_ASSERT(size > 0 && size < static_cast<int>(sizeof(text)));
  writeWhole(path, kj::arrayPtr(text, size).asBytes());
}

kj::Maybe<StateFile> readState(const std::string& path) {
  auto text = readSmallFile(path.c_str());
  StateFile state;
  char bootId[64];
  int exited, oomKilled;
  char end;
  int n = sscanf(text.cStr(), "1 %63s %d %" SCNu64 " %" SCNd64 " %d %d %" SCNd64 " %d %c", bootId,
                 &state.pid, &state.startTicks, &state.startedAtNs, &exited, &state.code,
                 &state.exitedAtNs, &oomKilled, &end);
  if (n != 9 || end != '.') return nullptr;
  state.bootId = bootId;
  state.exited = exited != 0;
  state.oomKilled = oomKilled != 0;
  return state;
}

}  // namespace orch::runtime
