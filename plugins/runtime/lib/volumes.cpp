#include "volumes.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "file-access.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::runtime {

namespace {

// In a folder of `.new`: a symbolic link whose target is the volume that it is being moved into.
constexpr const char* INTO = "/into";

std::string linkTarget(const std::string& path) {
  char target[300];  // a volume's name has at most 255 bytes
  ssize_t n = readlink(path.c_str(), target, sizeof(target));
  return std::string(target, n < 0 ? 0 : n);
}

int64_t birthNs(const std::string& path) {
  struct statx info;
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_BTIME, &info) != 0) return 0;
  if ((info.stx_mask & STATX_BTIME) == 0) return 0;
  return info.stx_btime.tv_sec * int64_t(1'000'000'000) + info.stx_btime.tv_nsec;
}

void move(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    failFile("make", to, errno);
  }
}

}  // namespace

VolumeFolder::VolumeFolder(std::string root, std::string instance)
    : root(std::move(root)), instance(std::move(instance)) {}

std::string VolumeFolder::usesOf(const std::string& id) const {
  return root + "/.users/" + instance + "/" + id;
}

std::string VolumeFolder::freshOf(const std::string& id) const {
  return root + "/.new/" + instance + "/" + id;
}

void VolumeFolder::noteUse(const std::string& name, const std::string& id) const {
  makeFolders(usesOf(id));
  writeNew(usesOf(id) + "/" + name, nullptr);
}

// Null if somebody else has it and this is not to wait for him.
kj::Maybe<kj::AutoCloseFd> VolumeFolder::lock(const std::string& name, bool wait) const {
  std::string path = root + "/" + name;
  for (;;) {
    makeFolders(path);
    int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) continue;
    if (fd < 0) failFile("open", path, errno);
    kj::AutoCloseFd owned(fd);
    if (flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return nullptr;
      failFile("lock", path, errno);
    }
    // Removed while this waited: then the lock is on a folder that is no volume any more.
    struct stat mine, there;
    if (fstat(fd, &mine) == 0 && stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino) {
      return kj::mv(owned);
    }
  }
}

VolumeFolder::Used VolumeFolder::use(const std::string& name, const std::string& id,
                                     const RootFolder& rootfs, const std::string& target,
                                     bool mayCopy) const {
  noteUse(name, id);  // before the lock: whoever removes the volume looks behind it
  auto locked = lock(name);
  if (locked == nullptr) return {"", true};
  std::string data = dataOf(name);
  if (exists(data) && !entriesOf(data).empty()) return {data};
  if (!mayCopy) return {};
  std::string fresh = freshOf(id);
  removeTree(fresh);
  makeFolders(fresh);
  KJ_ON_SCOPE_FAILURE(attemptNow([&] { removeTree(fresh); }));
  makeFolder(fresh + "/_data", 0755);
  bool copied = copyFromImage(rootfs, target, fresh + "/_data");
  if (!exists(data)) {
    move(fresh + "/_data", data);
  } else if (copied && !entriesOf(fresh + "/_data").empty()) {
    fill(name, fresh);
  }
  removeTree(fresh);
  return {data};
}

// Somebody may have the empty folder mounted: it stays, its content comes one by one. After a crash
// `recover` goes on with it.
void VolumeFolder::fill(const std::string& name, const std::string& fresh) const {
  std::string from = fresh + "/_data", to = dataOf(name);
  std::string into = fresh + INTO;
  unlink(into.c_str());
  if (symlink(name.c_str(), into.c_str()) != 0) failFile("make", into, errno);
  std::vector<std::string> moved;
  KJ_ON_SCOPE_FAILURE({
    for (auto& entry : moved) {
      rename((to + "/" + entry).c_str(), (from + "/" + entry).c_str());
    }
  });
  for (auto& entry : entriesOf(from)) {
    move(from + "/" + entry, to + "/" + entry);
    moved.push_back(entry);
  }
  copyFolderAttributes(from, to);
}

void VolumeFolder::release(const std::string& id) const {
  if (exists(freshOf(id))) removeTree(freshOf(id));
  if (exists(usesOf(id))) removeTree(usesOf(id));
}

std::vector<std::string> VolumeFolder::names() const {
  auto names = entriesOf(root);
  names.erase(
      std::remove_if(names.begin(), names.end(), [](const std::string& n) { return n[0] == '.'; }),
      names.end());
  return names;
}

std::map<std::string, std::vector<std::string>> VolumeFolder::users() const {
  std::map<std::string, std::vector<std::string>> users;
  std::string all = root + "/.users";
  for (auto& runtime : entriesOf(all)) {
    for (auto& id : entriesOf(all + "/" + runtime)) {
      for (auto& name : entriesOf(all + "/" + runtime + "/" + id)) users[name].push_back(id);
    }
  }
  return users;
}

std::vector<VolumeInfo> VolumeFolder::list() const {
  auto usedBy = users();
  std::vector<VolumeInfo> volumes;
  for (auto& name : names()) {
    auto& ids = usedBy[name];
    std::sort(ids.begin(), ids.end());
    volumes.push_back({name, dataOf(name), birthNs(root + "/" + name), ids});
  }
  return volumes;
}

std::vector<std::string> VolumeFolder::prune() const {
  std::vector<std::string> removed;
  auto usedBy = users();
  for (auto& name : names()) {
    if (usedBy.count(name) > 0) continue;
    // Somebody may have begun to use it meanwhile.
    auto gone = attemptNow([&] { return remove(name); });
    if (gone.ok() && gone.value()) removed.push_back(name);
  }
  return removed;
}

bool VolumeFolder::remove(const std::string& name) const {
  if (!exists(root + "/" + name)) return false;
  auto locked = lock(name);
  if (locked == nullptr) {
    fail(kj::str("volume '", name.c_str(), "' is just being filled for a container; try again"));
  }
  auto usedBy = users()[name];
  if (!usedBy.empty()) {
    std::string ids;
    for (auto& id : usedBy) ids += (ids.empty() ? "'" : ", '") + id + "'";
    fail(kj::str("volume '", name.c_str(), "' is in use by task ", ids.c_str(),
                 "; remove its service first"));
  }
  // Out of the way in one step: what is removed only halfway is no volume. No id begins with a dot.
  std::string away = freshOf(".removed");
  removeTree(away);
  makeFolders(away);
  move(root + "/" + name, away + "/" + name);
  removeTree(away);
  return true;
}

void VolumeFolder::recover(const std::vector<Use>& uses) const {
  makeFolders(root);
  for (auto& id : entriesOf(root + "/.new/" + instance)) {
    auto name = linkTarget(freshOf(id) + INTO);
    if (!name.empty() && exists(dataOf(name))) {
      auto locked = lock(name, true);
      for (auto& entry : entriesOf(freshOf(id) + "/_data")) {
        renameat2(AT_FDCWD, (freshOf(id) + "/_data/" + entry).c_str(), AT_FDCWD,
                  (dataOf(name) + "/" + entry).c_str(), RENAME_NOREPLACE);
      }
    }
    removeTree(freshOf(id));
  }
  for (auto& id : entriesOf(root + "/.users/" + instance)) {
    bool there =
        std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return use.id == id; });
    if (!there) removeTree(usesOf(id));
  }
  for (auto& use : uses) {
    for (auto& name : use.names) {
      if (!exists(usesOf(use.id) + "/" + name)) noteUse(name, use.id);
    }
  }
}

std::vector<std::string> VolumeFolder::adopt(const std::string& old) const {
  std::vector<std::string> stay;
  for (auto& name : entriesOf(old)) {
    std::string from = old + "/" + name, to = root + "/" + name;
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) continue;
    if (errno != EEXIST) failFile("move the volume", from, errno);
    stay.push_back(name);
  }
  rmdir(old.c_str());
  return stay;
}

}  // namespace orch::runtime
