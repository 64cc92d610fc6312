#include "orch/segments/backup-file.h"

#include <capnp/serialize.h>
#include <zstd.h>

#include <cstring>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/segments/frames.h"

namespace orch::segments {

namespace {

constexpr char BACKUP_MAGIC[8] = {'o', 'r', 'c', 'h', 'b', 'k', 'u', 'p'};
constexpr uint64_t FORMAT = 1;
constexpr size_t HEAD_BYTES = sizeof(BACKUP_MAGIC) + sizeof(FORMAT);
constexpr size_t FRAME_CONTENT = 256 << 10;
// An object is a quarter of what a store takes at once, 64 MiB at most.
constexpr uint64_t MAX_MESSAGE_WORDS = (32 << 20) / sizeof(capnp::word);

// Of bytes behind the sum of those before them.
uint64_t chained(uint64_t before, kj::ArrayPtr<const kj::byte> bytes) {
  auto both = kj::heapArray<kj::byte>(sizeof(before) + bytes.size());
  memcpy(both.begin(), &before, sizeof(before));
  memcpy(both.begin() + sizeof(before), bytes.begin(), bytes.size());
  return checksumOf(both);
}

void dropFirst(kj::Vector<kj::byte>& bytes, size_t count) {
  kj::Vector<kj::byte> rest(bytes.size() - count);
  rest.addAll(bytes.begin() + count, bytes.end());
  bytes = kj::mv(rest);
}

}  // namespace

BackupWriter::BackupWriter(kj::Function<void(kj::Array<kj::byte>)> out) : out(kj::mv(out)) {
  auto head = kj::heapArray<kj::byte>(HEAD_BYTES);
  memcpy(head.begin(), BACKUP_MAGIC, sizeof(BACKUP_MAGIC));
  memcpy(head.begin() + sizeof(BACKUP_MAGIC), &FORMAT, sizeof(FORMAT));
  put(kj::mv(head));
}

void BackupWriter::put(kj::Array<kj::byte> bytes) {
  sum = chained(sum, bytes);
  out(kj::mv(bytes));
}

void BackupWriter::addWords(schema::BackupEntry::Reader entry) {
  capnp::MallocMessageBuilder message;
  message.setRoot(entry);
  addMessage(content, capnp::messageToFlatArray(message));
}

void BackupWriter::add(schema::BackupEntry::Reader entry) {
  count += entry.isObject();
  addWords(entry);
  if (content.size() < FRAME_CONTENT) return;
  size_t at = 0;
  for (; content.size() - at >= FRAME_CONTENT; at += FRAME_CONTENT) {
    put(packFrame(content.asPtr().slice(at, at + FRAME_CONTENT)));
  }
  dropFirst(content, at);
}

void BackupWriter::finish() {
  if (content.size() > 0) put(packFrame(content));
  content.clear();
  capnp::MallocMessageBuilder message;
  message.initRoot<schema::BackupEntry>().setEnds(count);
  addWords(message.getRoot<schema::BackupEntry>().asReader());
  put(packFrame(content));
  content.clear();
  auto last = kj::heapArray<kj::byte>(sizeof(sum));
  memcpy(last.begin(), &sum, sizeof(sum));
  out(kj::mv(last));
}

BackupReader::BackupReader(kj::StringPtr name, kj::Function<void(schema::BackupEntry::Reader)> take)
    : name(kj::str(name)), take(kj::mv(take)) {}

void BackupReader::refuse(kj::StringPtr why) const {
  fail(kj::str("cannot use the backup '", name, "': ", why));
}

void BackupReader::write(kj::ArrayPtr<const kj::byte> bytes) {
  waiting.addAll(bytes);
  if (readHead()) readFrames();
}

bool BackupReader::readHead() {
  if (hasHead) return true;
  if (waiting.size() < HEAD_BYTES) return false;
  if (memcmp(waiting.begin(), BACKUP_MAGIC, sizeof(BACKUP_MAGIC)) != 0)
    refuse("it is no backup of a cluster");
  uint64_t format;
  memcpy(&format, waiting.begin() + sizeof(BACKUP_MAGIC), sizeof(format));
  if (format != FORMAT) {
    refuse(kj::str("it is of format ", format, ", and this version of orch reads format ", FORMAT));
  }
  sum = chained(sum, waiting.asPtr().slice(0, HEAD_BYTES));
  dropFirst(waiting, HEAD_BYTES);
  return hasHead = true;
}

// What a frame holds may be frames itself: each is looked for where the last one ended.
void BackupReader::readFrames() {
  size_t at = 0;
  while (!hasEnded) {
    auto rest = waiting.asPtr().slice(at, waiting.size());
    size_t size = ZSTD_findFrameCompressedSize(rest.begin(), rest.size());
    if (ZSTD_isError(size)) break;  // it is not all there yet
    auto frame = nextFrame(rest.slice(0, size), 0);
    if (!frame || frame->begin != 0 || frame->end != size) refuse("it is damaged");
    at += size;
    sum = chained(sum, rest.slice(0, size));
    content.addAll(frame->content);
    readMessages();
  }
  if (waiting.size() - at > MAX_FRAME_BYTES) refuse("it is damaged");
  if (at > 0) dropFirst(waiting, at);
}

void BackupReader::readMessages() {
  size_t at = 0;
  while (content.size() - at >= sizeof(uint64_t)) {
    uint64_t words;
    memcpy(&words, content.begin() + at, sizeof(words));
    if (words > MAX_MESSAGE_WORDS) refuse("it is damaged");
    auto bytes = words * sizeof(capnp::word);
    if (content.size() - at - sizeof(words) < bytes) break;
    auto message = kj::heapArray<capnp::word>(words);
    memcpy(message.begin(), content.begin() + at + sizeof(words), bytes);
    at += sizeof(words) + bytes;
    auto taken = attemptNow([&] {
      capnp::FlatArrayMessageReader reader(message);
      takeEntry(reader.getRoot<schema::BackupEntry>());
    });
    if (!taken.ok()) {
      auto why = taken.message();
      if (why.startsWith("cannot use the backup")) kj::throwFatalException(kj::mv(taken.error()));
      refuse(why);
    }
  }
  if (at > 0) dropFirst(content, at);
}

void BackupReader::takeEntry(schema::BackupEntry::Reader entry) {
  if (hasEnded) refuse("it is damaged");
  if (entry.isBegins() == hasBegun) refuse("it is damaged");
  hasBegun = true;
  if (entry.isEnds()) {
    if (entry.getEnds() != count) refuse("it is damaged: parts of it are missing");
    hasEnded = true;
    return;
  }
  count += entry.isObject();
  take(entry);
}

void BackupReader::finish() {
  if (!hasEnded || waiting.size() < sizeof(sum)) {
    refuse("it is not whole: its end is missing or damaged");
  }
  if (waiting.size() > sizeof(sum)) refuse("something stands behind its end");
  if (memcmp(waiting.begin(), &sum, sizeof(sum)) != 0) refuse("it is damaged");
}

}  // namespace orch::segments
