#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "orch/durable-file.h"

namespace orch {

namespace {

constexpr int FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// std::filesystem's remove_all keeps a descriptor per level and fails on what is deeper than their
// limit. This one goes back up by "..", and makes sure that it leads where it came from.
class Removal final {
 public:
  explicit Removal(const std::string& path) : path(path) {}

  void run() {
    current = opened(AT_FDCWD, path.c_str());
    if (current == nullptr) {
      if (errno == ENOTDIR || errno == ELOOP) remove(AT_FDCWD, path.c_str(), 0);
      if (errno != ENOENT) failOn(errno);
      return;
    }
    for (;;) {
      auto below = firstFull();
      if (!below.empty()) {
        descend(below);
      } else if (above.empty()) {
        break;
      } else {
        ascend();
      }
    }
    current = nullptr;
    if (!remove(AT_FDCWD, path.c_str(), AT_REMOVEDIR)) failOn(errno);
  }

 private:
  struct Level {
    std::string name;  // of the folder below
    dev_t device;
    ino_t inode;
  };

  static kj::AutoCloseFd opened(int parent, const char* name) {
    int fd = openat(parent, name, FOLDER);
    return fd < 0 ? kj::AutoCloseFd() : kj::AutoCloseFd(fd);
  }
  [[noreturn]] void failOn(int error) const { failFile("remove", path, error); }
  // False, and errno, if it is still there; errno is ENOENT otherwise.
  static bool remove(int parent, const char* name, int flags) {
    if (unlinkat(parent, name, flags) < 0 && errno != ENOENT) return false;
    errno = ENOENT;
    return true;
  }

  // Removes what it can of the current folder, up to the first folder in it that is not empty.
  std::string firstFull() {
    auto listed = opened(current, ".");
    if (listed == nullptr) failOn(errno);
    DIR* dir = fdopendir(listed.get());
    if (dir == nullptr) failOn(errno);
    (void)listed.release();
    KJ_DEFER(closedir(dir));
    while (auto* entry = readdir(dir)) {
      std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (remove(current, entry->d_name, 0)) continue;
      int error = errno;
      if (remove(current, entry->d_name, AT_REMOVEDIR)) continue;
      if (errno == ENOTEMPTY || errno == EEXIST) return entry->d_name;
      failOn(errno == ENOTDIR ? error : errno);
    }
    return {};
  }

  void descend(const std::string& name) {
    struct stat here;
    KJ_SYSCALL(fstat(current, &here));
    auto below = opened(current, name.c_str());
    if (below == nullptr) failOn(errno);
    above.push_back({name, here.st_dev, here.st_ino});
    current = kj::mv(below);
  }

  void ascend() {
    auto parent = opened(current, "..");
    if (parent == nullptr) failOn(errno);
    struct stat found;
    KJ_SYSCALL(fstat(parent, &found));
    auto& level = above.back();
    if (found.st_dev != level.device || found.st_ino != level.inode) failOn(EBUSY);
    if (!remove(parent, level.name.c_str(), AT_REMOVEDIR)) failOn(errno);
    above.pop_back();
    current = kj::mv(parent);
  }

  const std::string& path;
  kj::AutoCloseFd current;
  std::vector<Level> above;
};

}  // namespace

void removeTree(const std::string& path) { Removal(path).run(); }

}  // namespace orch
