// Backups as bytes (sdk/schema/backup.capnp): written some at a time, read the same way, and either
// whole or refused.
#pragma once

#include <kj/function.h>
#include <kj/vector.h>

#include "orch/schema/backup.capnp.h"

namespace orch::segments {

class BackupWriter final {
 public:
  // `out` gets the bytes of the file, in order.
  explicit BackupWriter(kj::Function<void(kj::Array<kj::byte>)> out);
  KJ_DISALLOW_COPY(BackupWriter);

  // The first one begins; none ends: `finish` does.
  void add(schema::BackupEntry::Reader entry);
  void finish();
  uint64_t objects() const { return count; }

 private:
  void addWords(schema::BackupEntry::Reader entry);
  void put(kj::Array<kj::byte> bytes);

  kj::Function<void(kj::Array<kj::byte>)> out;
  kj::Vector<kj::byte> content;  // that is in no frame yet
  uint64_t count = 0;
  uint64_t sum = 0;  // of what was put
};

class BackupReader final {
 public:
  // Every entry but the end goes to `take`. All that fails says `name`, of the file, and why.
  BackupReader(kj::StringPtr name, kj::Function<void(schema::BackupEntry::Reader)> take);
  KJ_DISALLOW_COPY(BackupReader);

  void write(kj::ArrayPtr<const kj::byte> bytes);
  // There are no more. Fails if it is not whole.
  void finish();
  uint64_t objects() const { return count; }

 private:
  [[noreturn]] void refuse(kj::StringPtr why) const;
  bool readHead();
  void readFrames();
  void readMessages();
  void takeEntry(schema::BackupEntry::Reader entry);

  const kj::String name;
  kj::Function<void(schema::BackupEntry::Reader)> take;
  kj::Vector<kj::byte> waiting;  // bytes of no whole frame yet
  kj::Vector<kj::byte> content;  // of no whole message yet
  bool hasHead = false;
  bool hasBegun = false;
  bool hasEnded = false;
  uint64_t count = 0;
  uint64_t sum = 0;  // of what was read
};

}  // namespace orch::segments
