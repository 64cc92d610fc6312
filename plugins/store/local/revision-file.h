// The last state that somebody was told is durable, in a file of two slots that are written in
// turn. It is what a database is measured against at the next start: SQLite drops everything
// behind a damaged page of its write-ahead log without a word.
#pragma once

#include <kj/io.h>

#include <cstdint>
#include <optional>
#include <string>

namespace orch::store::local {

struct Acknowledged {
  uint64_t revision = 0;
  uint64_t epoch = 0;
  uint64_t objects = 0;  // how many there are
  uint64_t digest = 0;   // sum of their checksums
  bool operator==(const Acknowledged&) const = default;
};

// Two blocks of 4 KiB, allocated once, so that a write needs no space. Throws FAILED with a text
// that names the file.
class RevisionFile final {
 public:
  static constexpr size_t SLOT_BYTES = 4096;

  // Opens the file, which must exist. Read `last()` before anything is written.
  explicit RevisionFile(const std::string& path);
  // Makes the file, durable in its folder, or replaces it as a whole.
  static void create(const std::string& path, const Acknowledged& state);

  // Nothing if neither slot is intact.
  const std::optional<Acknowledged>& last() const { return state; }
  // The other slot is damaged: from a write that a power loss cut, or by the disk.
  bool oneSlotDamaged() const { return damaged == 1; }
  // Returns when it is on the disk. A failed write leaves the other slot as it was.
  void write(const Acknowledged& next);

 private:
  std::string path;
  kj::AutoCloseFd fd;
  std::optional<Acknowledged> state;
  uint64_t sequence = 0;
  uint64_t slot = 0;  // the one that holds `state`
  int damaged = 0;
};

}  // namespace orch::store::local
