#include "revision-file.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "orch/durable-file.h"
#include "tables.h"

namespace orch::store::local {

namespace {

constexpr uint64_t MAGIC = 0x3130564552524f21ull;

// As it lies on the disk, little endian like all hosts that orch runs on.
struct Slot {
  uint64_t magic = MAGIC;
  uint64_t sequence = 0;
  Acknowledged state;
  uint64_t checksum = 0;
  uint64_t expected() const { return checksumOf(this, offsetof(Slot, checksum)); }
  bool intact() const { return magic == MAGIC && checksum == expected(); }
};
static_assert(sizeof(Slot) == 56);

struct Block {
  alignas(8) char bytes[RevisionFile::SLOT_BYTES] = {};
};

Block blockOf(uint64_t sequence, const Acknowledged& state) {
  Slot slot;
  slot.sequence = sequence;
  slot.state = state;
  slot.checksum = slot.expected();
  Block block;
  memcpy(block.bytes, &slot, sizeof(slot));
  return block;
}

void writeBlock(int fd, const std::string& path, uint64_t slot, const Block& block) {
  ssize_t n = pwrite(fd, block.bytes, sizeof(block.bytes), slot * sizeof(block.bytes));
  if (n != sizeof(block.bytes)) failFile("write", path, n < 0 ? errno : ENOSPC);
}

}  // namespace

RevisionFile::RevisionFile(const std::string& path) : path(path) {
  int opened = open(path.c_str(), O_RDWR | O_DSYNC | O_CLOEXEC | O_NOFOLLOW);
  if (opened < 0) failFile("open", path, errno);
  fd = kj::AutoCloseFd(opened);
  for (uint64_t i = 0; i < 2; ++i) {
    Slot read;
    ssize_t n = pread(fd, &read, sizeof(read), i * SLOT_BYTES);
    if (n < 0) failFile("read", path, errno);
    if (n != sizeof(read) || !read.intact()) {
      ++damaged;
      continue;
    }
    if (state && read.sequence < sequence) continue;
    state = read.state;
    sequence = read.sequence;
    slot = i;
  }
}

void RevisionFile::create(const std::string& path, const Acknowledged& state) {
  Block blocks[] = {blockOf(1, state), blockOf(2, state)};
  auto bytes = kj::arrayPtr(reinterpret_cast<const kj::byte*>(blocks), sizeof(blocks));
  replaceFile(path, bytes, Outlives::POWER);
}

void RevisionFile::write(const Acknowledged& next) {
  writeBlock(fd, path, slot ^ 1, blockOf(sequence + 1, next));
  slot ^= 1;
  ++sequence;
  state = next;
  damaged = 0;
}

}  // namespace orch::store::local
