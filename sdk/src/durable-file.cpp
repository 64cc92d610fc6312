#include "orch/durable-file.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

// Compiled in: a library of its own would cost an idle process a hundred KiB.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "orch/fail.h"

namespace orch {

namespace {

constexpr char CHECKED_MAGIC[9] = "ORCHIMG1";
constexpr uint64_t MAX_CHECKED_BYTES = 256ull << 20;  // of one file; an image needs about 2 KiB

struct CheckedHeader {
  char magic[8];
  uint64_t sum;  // of the content
  uint64_t size;
};
static_assert(sizeof(CheckedHeader) == 24);

kj::String remedyFor(const std::string& path, int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return kj::str("; free space on the file system of '", path.c_str(), "'");
    case EMFILE:
    case ENFILE:
      return kj::str("; raise the limit of open files (LimitNOFILE of orchd's unit)");
    case EROFS:
      return kj::str("; mount its file system writable");
    default:
      return kj::str();
  }
}

size_t nameAt(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? 0 : slash + 1;
}

void writePiece(int fd, kj::ArrayPtr<const kj::byte> bytes, const std::string& path) {
  while (bytes.size() > 0) {
    ssize_t n = write(fd, bytes.begin(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failFile("write", path, errno);
    bytes = bytes.slice(n, bytes.size());
  }
}

void replaceWith(const std::string& path, kj::ArrayPtr<const kj::byte> head,
                 kj::ArrayPtr<const kj::byte> content, Outlives outlives, mode_t mode) {
  auto fresh = unfinishedName(path);
  constexpr int NEW = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  int fd = open(fresh.c_str(), NEW, mode);
  if (fd < 0 && errno == EEXIST) {
    unlink(fresh.c_str());
    fd = open(fresh.c_str(), NEW, mode);
  }
  if (fd < 0) failFile("write", path, errno);
  kj::AutoCloseFd file(fd);
  bool done = false;
  KJ_DEFER(if (!done) unlink(fresh.c_str()));
  writePiece(fd, head, path);
  writePiece(fd, content, path);
  if (outlives == Outlives::POWER && fsync(fd) < 0) failFile("write", path, errno);
  if (rename(fresh.c_str(), path.c_str()) < 0) failFile("write", path, errno);
  done = true;
  size_t name = nameAt(path);
  if (outlives == Outlives::POWER) syncFolder(name == 0 ? "." : path.substr(0, name));
}

}  // namespace

void failFile(kj::StringPtr what, const std::string& path, int error) {
  bool passing = error == EMFILE || error == ENFILE || error == ENOMEM;
  auto type = passing ? kj::Exception::Type::OVERLOADED : kj::Exception::Type::FAILED;
  kj::throwFatalException(kj::Exception(type, __FILE__, __LINE__,
                                        kj::str("cannot ", what, " '", path.c_str(),
                                                "': ", strerror(error), remedyFor(path, error))));
  KJ_UNREACHABLE;
}

std::string unfinishedName(const std::string& path) {
  size_t name = nameAt(path);
  return path.substr(0, name) + "." + path.substr(name) + ".new";
}

void replaceFile(const std::string& path, kj::ArrayPtr<const kj::byte> content, Outlives outlives,
                 mode_t mode) {
  replaceWith(path, nullptr, content, outlives, mode);
}

void syncFolder(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) failFile("open", path, errno);
  kj::AutoCloseFd folder(fd);
  if (fsync(fd) < 0) failFile("write", path, errno);
}

uint64_t checksumOf(kj::ArrayPtr<const kj::byte> bytes) {
  return XXH64(bytes.begin(), bytes.size(), 0);
}

void writeChecked(const std::string& path, kj::ArrayPtr<const kj::byte> content) {
  CheckedHeader header;
  memcpy(header.magic, CHECKED_MAGIC, sizeof(header.magic));
  header.sum = checksumOf(content);
  header.size = content.size();
  auto head = kj::arrayPtr(reinterpret_cast<const kj::byte*>(&header), sizeof(header));
  replaceWith(path, head, content, Outlives::POWER, 0600);
}

kj::Maybe<kj::Array<kj::byte>> readChecked(const std::string& path, const char* what,
                                           const char* remedy) {
  auto damaged = [&](kj::StringPtr why) {
    fail(kj::str("the ", what, " '", path.c_str(), "' is damaged: ", why, "; ", remedy));
  };
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return nullptr;
  if (fd < 0) failFile("read", path, errno);
  kj::AutoCloseFd file(fd);
  struct stat info;
  if (fstat(fd, &info) < 0) failFile("read", path, errno);
  uint64_t size = info.st_size;
  if (size > MAX_CHECKED_BYTES) damaged("it is too large"_kj);
  CheckedHeader header;
  if (size < sizeof(header)) damaged("it is cut off"_kj);
  auto content = kj::heapArray<kj::byte>(size - sizeof(header));
  kj::FdInputStream stream(fd);
  stream.read(&header, sizeof(header));
  if (memcmp(header.magic, CHECKED_MAGIC, sizeof(header.magic)) != 0) {
    damaged("it does not begin as such a file does"_kj);
  }
  if (header.size != content.size()) damaged("its length is not what it says"_kj);
  stream.read(content.begin(), content.size());
  if (checksumOf(content) != header.sum) damaged("its checksum does not match"_kj);
  return kj::mv(content);
}

}  // namespace orch
