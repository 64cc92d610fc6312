#include "checked-file.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

// Compiled in: a library of its own would cost an idle process a hundred KiB.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "orch/fail.h"

namespace orch::image::oci {

namespace {

constexpr char MAGIC[9] = "ORCHIMG1";
constexpr uint64_t MAX_BYTES = 256ull << 20;  // of one file; an image needs about 2 KiB

struct Header {
  char magic[8];
  uint64_t sum;  // XXH64 of the content
  uint64_t size;
};
static_assert(sizeof(Header) == 24);

[[noreturn]] void failOn(const char* verb, const std::string& path, int error) {
  fail(kj::str("cannot ", verb, " '", path.c_str(), "': ", strerror(error)));
}

void writeAll(int fd, kj::ArrayPtr<const kj::byte> bytes, const std::string& path) {
  while (bytes.size() > 0) {
    ssize_t n = write(fd, bytes.begin(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failOn("write", path, errno);
    bytes = bytes.slice(n, bytes.size());
  }
}

void replaceFile(const std::string& path, kj::ArrayPtr<const kj::byte> head,
                 kj::ArrayPtr<const kj::byte> content) {
  std::string fresh = path + ".new";
  int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) failOn("write", path, errno);
  kj::AutoCloseFd file(fd);
  bool done = false;
  KJ_DEFER(if (!done) unlink(fresh.c_str()));
  writeAll(fd, head, path);
  writeAll(fd, content, path);
  if (fsync(fd) < 0) failOn("write", path, errno);
  if (rename(fresh.c_str(), path.c_str()) < 0) failOn("write", path, errno);
  done = true;
  syncFolder(path.substr(0, path.rfind('/')));
}

// Nothing if it has more than `limit` bytes.
kj::Maybe<kj::Array<kj::byte>> readWhole(const std::string& path, uint64_t limit) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) failOn("read", path, errno);
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info), path.c_str());
  uint64_t size = info.st_size;
  if (size > limit) return nullptr;
  auto content = kj::heapArray<kj::byte>(size);
  for (uint64_t at = 0; at < size;) {
    ssize_t n;
    KJ_SYSCALL(n = read(fd, content.begin() + at, size - at), path.c_str());
    if (n == 0) failOn("read", path, EIO);
    at += n;
  }
  return kj::mv(content);
}

}  // namespace

void syncFolder(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) failOn("open", path, errno);
  kj::AutoCloseFd folder(fd);
  if (fsync(fd) < 0) failOn("write", path, errno);
}

void writeChecked(const std::string& path, kj::ArrayPtr<const kj::byte> content) {
  Header header;
  memcpy(header.magic, MAGIC, sizeof(header.magic));
  header.sum = XXH64(content.begin(), content.size(), 0);
  header.size = content.size();
  replaceFile(path, kj::arrayPtr(reinterpret_cast<kj::byte*>(&header), sizeof(header)), content);
}

kj::Maybe<kj::Array<kj::byte>> readChecked(const std::string& path, const char* what,
                                           const char* remedy) {
  auto damaged = [&](kj::StringPtr why) {
    fail(kj::str("the ", what, " '", path.c_str(), "' is damaged: ", why, "; ", remedy));
  };
  struct stat info;
  if (stat(path.c_str(), &info) < 0 && errno == ENOENT) return nullptr;
  KJ_IF_MAYBE (whole, readWhole(path, MAX_BYTES)) {
    Header header;
    if (whole->size() < sizeof(header)) damaged("it is cut off"_kj);
    memcpy(&header, whole->begin(), sizeof(header));
    if (memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0) {
      damaged("it does not begin as such a file does"_kj);
    }
    auto content = whole->slice(sizeof(header), whole->size());
    if (header.size != content.size()) damaged("its length is not what it says"_kj);
    if (XXH64(content.begin(), content.size(), 0) != header.sum) {
      damaged("its checksum does not match"_kj);
    }
    return kj::heapArray<kj::byte>(content);
  }
  damaged("it is too large"_kj);
  return nullptr;
}

}  // namespace orch::image::oci
