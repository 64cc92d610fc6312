#include "volumes.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace orch::runtime {

namespace {

constexpr const char* HALF_MADE = ".new-";
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

void copyOwnerAndTimes(int from, int to, const struct stat& info) {
  KJ_SYSCALL(fchown(to, info.st_uid, info.st_gid));
  KJ_SYSCALL(fchmod(to, info.st_mode & 07777));
  copyAttributes(from, to);
  struct timespec times[2] = {info.st_atim, info.st_mtim};
  futimens(to, times);
}

void copyFile(int fromFolder, int toFolder, const char* name, const struct stat& info) {
  int from, to;
  KJ_SYSCALL(from = openat(fromFolder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), name);
  kj::AutoCloseFd ownedFrom(from);
  KJ_SYSCALL(to = openat(toFolder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), name);
  kj::AutoCloseFd ownedTo(to);
  for (;;) {
    ssize_t n;
    KJ_SYSCALL(n = sendfile(to, from, nullptr, 1 << 30), name);
    if (n == 0) break;
  }
  copyOwnerAndTimes(from, to, info);
}

void copySpecial(int fromFolder, int toFolder, const char* name, const struct stat& info) {
  if (S_ISLNK(info.st_mode)) {
    char target[4096];
    ssize_t n;
    KJ_SYSCALL(n = readlinkat(fromFolder, name, target, sizeof(target) - 1), name);
    target[n] = '\0';
    KJ_SYSCALL(symlinkat(target, toFolder, name), name);
  } else {
    KJ_SYSCALL(mknodat(toFolder, name, info.st_mode, info.st_rdev), name);
    KJ_SYSCALL(fchmodat(toFolder, name, info.st_mode & 07777, 0), name);
  }
  KJ_SYSCALL(fchownat(toFolder, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW), name);
}

// The content of one open folder into another. Descriptors only: nothing can be swapped meanwhile.
void copyFolder(int from, int to, unsigned depth) {
  KJ_REQUIRE(depth < MAX_DEPTH, "folders are nested too deeply to copy into a volume");
  int again;
  KJ_SYSCALL(again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* folder = fdopendir(again);
  if (folder == nullptr) KJ_FAIL_SYSCALL("fdopendir", errno);
  KJ_DEFER(closedir(folder));
  while (dirent* entry = readdir(folder)) {
    const char* name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    struct stat info;
    KJ_SYSCALL(fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW), name);
    if (S_ISDIR(info.st_mode)) {
      KJ_SYSCALL(mkdirat(to, name, 0700), name);
      int childFrom, childTo;
      KJ_SYSCALL(childFrom = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      kj::AutoCloseFd ownedFrom(childFrom);
      KJ_SYSCALL(childTo = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      kj::AutoCloseFd ownedTo(childTo);
      copyFolder(childFrom, childTo, depth + 1);
    } else if (S_ISREG(info.st_mode)) {
      copyFile(from, to, name, info);
    } else {
      copySpecial(from, to, name, info);
    }
  }
  struct stat own;
  KJ_SYSCALL(fstat(from, &own));
  copyOwnerAndTimes(from, to, own);
}

bool isHalfMade(const std::string& name) { return name.find(HALF_MADE) != std::string::npos; }

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (auto& entry : std::filesystem::directory_iterator(folder, none)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string ensureVolume(const std::string& volume, const std::string& unique,
                         const RootFolder& rootfs, const std::string& target) {
  std::string data = volume + "/_data";
  if (access(data.c_str(), F_OK) == 0) return data;
  std::string fresh = volume + HALF_MADE + unique;
  removeTree(fresh);
  std::filesystem::create_directories(fresh + "/_data");
  KJ_IF_MAYBE (image, rootfs.openDirectory(target)) {
    int to;
    KJ_SYSCALL(to = open((fresh + "/_data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    kj::AutoCloseFd owned(to);
    copyFolder(*image, to, 0);
  }
  if (rename(fresh.c_str(), volume.c_str()) != 0) {
    int error = errno;
    removeTree(fresh);
    if (error != EEXIST && error != ENOTEMPTY) KJ_FAIL_SYSCALL("rename", error, volume.c_str());
  }
  return data;
}

std::vector<std::string> listVolumes(const std::string& folder) {
  auto names = entries(folder);
  names.erase(std::remove_if(names.begin(), names.end(), isHalfMade), names.end());
  return names;
}

void removeHalfMadeVolumes(const std::string& folder) {
  for (auto& name : entries(folder)) {
    if (isHalfMade(name)) removeTree(folder + "/" + name);
  }
}

void removeTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  KJ_REQUIRE(!error, "cannot remove a folder", path.c_str(), error.message().c_str());
}

}  // namespace orch::runtime
