#include "file-access.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/exception.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace orch::runtime {

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

kj::Maybe<kj::String> readIfThere(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return nullptr;
    failFile("read", path, errno);
  }
  kj::AutoCloseFd owned(fd);
  kj::Vector<char> text;
  char buffer[4096];
  while (text.size() < MAX_FILE_BYTES) {
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ESRCH) return nullptr;  // below /proc: the process has just gone
    if (n < 0) failFile("read", path, errno);
    text.addAll(buffer, buffer + n);
  }
  text.add('\0');
  return kj::String(text.releaseAsArray());
}

std::vector<std::string> entriesOf(const std::string& folder) {
  std::vector<std::string> names;
  DIR* open = opendir(folder.c_str());
  if (open == nullptr) {
    if (errno == ENOENT) return names;
    failFile("list", folder, errno);
  }
  KJ_DEFER(closedir(open));
  errno = 0;
  while (dirent* entry = readdir(open)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      names.emplace_back(entry->d_name);
    }
    errno = 0;
  }
  if (errno != 0) failFile("list", folder, errno);
  std::sort(names.begin(), names.end());
  return names;
}

void makeFolder(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) failFile("make the folder", path, errno);
}

void makeFolders(const std::string& path) {
  if (mkdir(path.c_str(), 0711) == 0 || errno == EEXIST) return;
  size_t slash = path.rfind('/');
  if (errno != ENOENT || slash == std::string::npos || slash == 0) {
    failFile("make the folder", path, errno);
  }
  makeFolders(path.substr(0, slash));
  makeFolder(path);
}

void writeNew(const std::string& path, kj::ArrayPtr<const kj::byte> bytes) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0644);
  if (fd < 0) failFile("write", path, errno);
  kj::AutoCloseFd owned(fd);
  while (bytes.size() > 0) {
    ssize_t n = write(fd, bytes.begin(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failFile("write", path, errno);
    bytes = bytes.slice(n, bytes.size());
  }
}

}  // namespace orch::runtime
