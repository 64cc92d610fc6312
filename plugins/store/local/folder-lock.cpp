#include "folder-lock.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "orch/fail.h"
#include "orch/file-lock.h"

namespace orch::store::local {

namespace {

void makeFolder(const std::string& folder) {
  using std::filesystem::perms;
  std::error_code error;
  bool made = std::filesystem::create_directories(folder, error);
  if (made && !error) std::filesystem::permissions(folder, perms::owner_all, error);
  auto mode = error ? perms::none : std::filesystem::status(folder, error).permissions();
  if (error) {
    fail(kj::str("cannot create '", folder.c_str(), "': ", error.message().c_str(),
                 "; set another `directory`"));
  }
  if ((mode & (perms::group_write | perms::others_write)) != perms::none) {
    fail(kj::str("'", folder.c_str(), "' may be written by others than its owner; run: chmod go-w ",
                 folder.c_str()));
  }
}

}  // namespace

FolderLock::FolderLock(const std::string& folder) {
  makeFolder(folder);
  auto path = folder + "/lock";
  int opened = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (opened < 0) fail(kj::str("cannot open '", path.c_str(), "': ", strerror(errno)));
  fd = kj::AutoCloseFd(opened);
  if (!lockFile(fd)) {
    char holder[32] = {};
    ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);
    fail(kj::str("the state in '", folder.c_str(), "' is in use by process ", n > 0 ? holder : "?",
                 "; end that one or set another `directory`"));
  }
  auto self = kj::str(getpid());
  // For the text above only: a disk without space must not keep the store from starting.
  if (ftruncate(fd, 0) != 0 || pwrite(fd, self.begin(), self.size(), 0) < 0) return;
}

}  // namespace orch::store::local
