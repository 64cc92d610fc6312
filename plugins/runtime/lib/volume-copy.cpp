#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "file-access.h"
#include "orch/fail.h"
#include "volumes.h"

namespace orch::runtime {

namespace {

constexpr unsigned MAX_DEPTH = 256;

void copyAttributes(int from, int to) {
  std::vector<char> names(1 << 16);
  ssize_t size = flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size; at += strlen(names.data() + at) + 1) {
    char value[1 << 12];
    ssize_t n = fgetxattr(from, names.data() + at, value, sizeof(value));
    if (n >= 0) fsetxattr(to, names.data() + at, value, n, 0);  // as far as the disk allows
  }
}

// Where the copy goes, for messages.
std::string pathOf(int folder, const char* name = nullptr) {
  char path[4096];
  std::string link = "/proc/self/fd/" + std::to_string(folder);
  ssize_t n = readlink(link.c_str(), path, sizeof(path));
  std::string text(path, n < 0 ? 0 : n);
  return name == nullptr ? text : text + "/" + name;
}

void copyOwnerAndTimes(int from, int to, const struct stat& info) {
  if (fchown(to, info.st_uid, info.st_gid) != 0 || fchmod(to, info.st_mode & 07777) != 0) {
    failFile("set owner and mode of", pathOf(to), errno);
  }
  copyAttributes(from, to);
  struct timespec times[2] = {info.st_atim, info.st_mtim};
  futimens(to, times);
}

void copyFile(int fromFolder, int toFolder, const char* name, const struct stat& info) {
  int from = openat(fromFolder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (from < 0) failFile("read", pathOf(fromFolder, name), errno);
  kj::AutoCloseFd ownedFrom(from);
  int to = openat(toFolder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (to < 0) failFile("write", pathOf(toFolder, name), errno);
  kj::AutoCloseFd ownedTo(to);
  for (;;) {
    ssize_t n = sendfile(to, from, nullptr, 1 << 30);
    if (n == 0) break;
    if (n < 0 && errno != EINTR) failFile("write", pathOf(toFolder, name), errno);
  }
  copyOwnerAndTimes(from, to, info);
}

void copySpecial(int fromFolder, int toFolder, const char* name, const struct stat& info) {
  bool made;
  if (S_ISLNK(info.st_mode)) {
    char target[4096];
    ssize_t n = readlinkat(fromFolder, name, target, sizeof(target) - 1);
    if (n < 0) failFile("read", pathOf(fromFolder, name), errno);
    target[n] = '\0';
    made = symlinkat(target, toFolder, name) == 0;
  } else {
    made = mknodat(toFolder, name, info.st_mode, info.st_rdev) == 0 &&
           fchmodat(toFolder, name, info.st_mode & 07777, 0) == 0;
  }
  if (!made || fchownat(toFolder, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
    failFile("make", pathOf(toFolder, name), errno);
  }
}

kj::AutoCloseFd openFolder(int parent, const char* name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) failFile("open", pathOf(parent, name), errno);
  return kj::AutoCloseFd(fd);
}

// What has been copied of files with several names: their further names become links to the copy.
class HardLinks {
 public:
  explicit HardLinks(int top) : top(top) {}
  // False if this is the first name of it that is met: it is to be copied to there.
  bool link(const struct stat& info, int toFolder, const char* name, const std::string& path) {
    if (info.st_nlink < 2) return false;
    auto [known, isFirst] = copies.try_emplace({info.st_dev, info.st_ino}, path);
    if (isFirst) return false;
    if (linkat(top, known->second.c_str(), toFolder, name, 0) != 0) {
      failFile("make", pathOf(toFolder, name), errno);
    }
    return true;
  }

 private:
  int top;
  std::map<std::pair<dev_t, ino_t>, std::string> copies;  // paths below `top`
};

// The content of one open folder into another. Descriptors only: nothing can be swapped meanwhile.
void copyFolder(int from, int to, const std::string& path, unsigned depth, HardLinks& links) {
  if (depth >= MAX_DEPTH) {
    fail(kj::str("folders of the image are nested too deeply to copy into a volume: '",
                 pathOf(from).c_str(), "'"));
  }
  auto again = openFolder(from, ".");
  DIR* folder = fdopendir(again);
  if (folder == nullptr) failFile("list", pathOf(from), errno);
  (void)again.release();
  KJ_DEFER(closedir(folder));
  while (dirent* entry = readdir(folder)) {
    const char* name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    struct stat info;
    if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      failFile("read", pathOf(from, name), errno);
    }
    auto inside = path + name;
    if (S_ISDIR(info.st_mode)) {
      if (mkdirat(to, name, 0700) != 0) failFile("make the folder", pathOf(to, name), errno);
      auto childFrom = openFolder(from, name);
      auto childTo = openFolder(to, name);
      copyFolder(childFrom, childTo, inside + "/", depth + 1, links);
    } else if (links.link(info, to, name, inside)) {
      continue;
    } else if (S_ISREG(info.st_mode)) {
      copyFile(from, to, name, info);
    } else {
      copySpecial(from, to, name, info);
    }
  }
  struct stat own;
  if (fstat(from, &own) != 0) failFile("read", pathOf(from), errno);
  copyOwnerAndTimes(from, to, own);
}

}  // namespace

bool copyFromImage(const RootFolder& rootfs, const std::string& target, const std::string& to) {
  KJ_IF_MAYBE (image, rootfs.openDirectory(target)) {
    auto folder = openFolder(AT_FDCWD, to.c_str());
    HardLinks links(folder);
    copyFolder(*image, folder, "", 0, links);
    return true;
  }
  return false;
}

void copyFolderAttributes(const std::string& from, const std::string& to) {
  auto source = openFolder(AT_FDCWD, from.c_str());
  auto folder = openFolder(AT_FDCWD, to.c_str());
  struct stat info;
  if (fstat(source, &info) != 0) failFile("read", from, errno);
  copyOwnerAndTimes(source, folder, info);
}

}  // namespace orch::runtime
