// Keeping a log within its limits.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "conmon.h"
#include "file-access.h"
#include "log-file.h"

namespace orch::runtime {

namespace {

// The newest always stays: conmon may still write to it.
void removeOld(const std::string& folder, const std::vector<uint64_t>& numbers, uint64_t maxBytes,
               uint32_t maxFiles) {
  size_t most = std::max<size_t>(maxFiles, 1);
  uint64_t bytes = 0;
  for (size_t newer = 0; newer < numbers.size(); ++newer) {
    std::string path = rotatedLog(folder, numbers[numbers.size() - 1 - newer]);
    struct stat info;
    if (stat(path.c_str(), &info) != 0) continue;
    bool wanted = newer == 0 || (newer < most && bytes < most * maxBytes);
    bytes += info.st_size;
    if (!wanted && unlink(path.c_str()) != 0 && errno != ENOENT) failFile("remove", path, errno);
  }
}

}  // namespace

std::string rotatedLog(const std::string& folder, uint64_t number) {
  return folder + "/log." + std::to_string(number);
}

std::vector<uint64_t> logNumbers(const std::string& folder) {
  std::vector<uint64_t> numbers;
  for (auto& name : entriesOf(folder)) {
    if (name.compare(0, 4, "log.") != 0) continue;
    char* end;
    uint64_t number = strtoull(name.c_str() + 4, &end, 10);
    if (*end == '\0' && number > 0) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

LogLook rotateLog(const std::string& folder, const std::string& bundle, uint64_t maxBytes,
                  uint32_t maxFiles, bool askAgain) {
  LogLook look;
  struct stat info;
  std::string current = folder + "/log";
  if (stat(current.c_str(), &info) != 0) {
    if (errno != ENOENT) failFile("look at", current, errno);
    // A second request would lose what conmon writes between the two: only if the first one has
    // been lost for sure.
    if (askAgain) reopenLog(bundle);
    look.missing = true;
    return look;
  }
  look.bytes = info.st_size;
  if (maxBytes == 0 || look.bytes <= maxBytes) return look;
  auto numbers = logNumbers(folder);
  uint64_t next = numbers.empty() ? 1 : numbers.back() + 1;
  std::string moved = rotatedLog(folder, next);
  if (renameat2(AT_FDCWD, current.c_str(), AT_FDCWD, moved.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == ENOENT) return look;
    failFile("move the log to", moved, errno);
  }
  reopenLog(bundle);
  look.rotated = true;
  numbers.push_back(next);
  removeOld(folder, numbers, maxBytes, maxFiles);
  return look;
}

void healLog(const std::string& folder, const std::string& bundle) {
  if (access((folder + "/log").c_str(), F_OK) != 0) reopenLog(bundle);
}

}  // namespace orch::runtime
