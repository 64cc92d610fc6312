#include "container-tree.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "file-access.h"
#include "orch/fail.h"

namespace orch::runtime {

namespace {

constexpr unsigned MAX_LINKS = 40;  // as the kernel, for one path

// What the runtime mounts by itself: not looked into.
constexpr const char* OWN_MOUNTS[] = {"/dev", "/proc", "/sys"};

void pushParts(std::deque<std::string>& parts, const std::string& path) {
  std::deque<std::string> front;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) front.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.insert(parts.begin(), front.begin(), front.end());
}

std::string readLink(int fd, const std::string& path) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(fd, "", target, sizeof(target));
  if (n < 0) failFile("read in the container the link", path, errno);
  return std::string(target, n);
}

bool isBelow(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
         path[folder.size()] == '/';
}

}  // namespace

struct ContainerTree::Walk {
  std::deque<std::string> parts;  // still to go
  std::string done;               // without links; empty is the root
  std::string wanted;             // for messages
  Make make = Make::NOTHING;
  unsigned links = 0;
  bool inTmpfs = false;  // the last step was below what is not there yet
};

ContainerTree::ContainerTree(const RootFolder& root) : root(root) {
  for (auto path : OWN_MOUNTS) mount(path, "", true, false);
}

const ContainerTree::Mount* ContainerTree::mountAt(const std::string& path) const {
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (mount->target == path) return &*mount;
  }
  return nullptr;
}

const ContainerTree::Mount* ContainerTree::mountAbove(const std::string& path) const {
  const Mount* above = nullptr;
  for (auto& mount : mounts) {
    bool nearer = above == nullptr || mount.target.size() >= above->target.size();
    if (nearer && isBelow(path, mount.target)) above = &mount;
  }
  return above;
}

// One name further: what is there, made if need be. A link goes into `walk.parts`.
ContainerTree::Entry ContainerTree::step(Walk& walk, const std::string& path) const {
  auto* at = mountAt(path);
  if (at != nullptr && at->source.empty()) return {Kind::FOLDER, 0};
  auto* above = at == nullptr ? mountAbove(path) : nullptr;
  walk.inTmpfs = above != nullptr && above->source.empty();
  if (walk.inTmpfs) return {Kind::UNKNOWN, 0};

  const RootFolder* holder = &root;
  kj::Maybe<RootFolder> mounted;
  std::string inside = path;
  if (at != nullptr || above != nullptr) {
    auto& mount = at != nullptr ? *at : *above;
    if (!mount.isFolder) return {at != nullptr ? Kind::FILE : Kind::NOTHING, 0755};
    holder = &mounted.emplace(mount.source);
    inside = path.substr(mount.target.size());
  }
  KJ_IF_MAYBE (entry, holder->openEntry(inside)) {
    struct stat info;
    KJ_SYSCALL(fstat(*entry, &info));
    if (S_ISLNK(info.st_mode)) {
      if (++walk.links > MAX_LINKS) {
        fail(kj::str("the links of '", walk.wanted.c_str(), "' in the container run in a circle"));
      }
      auto target = readLink(*entry, path);
      if (target.rfind('/', 0) == 0) walk.done.clear();
      pushParts(walk.parts, target);
      return {Kind::UNKNOWN, 0};
    }
    return {S_ISDIR(info.st_mode) ? Kind::FOLDER : Kind::FILE, info.st_mode & 07777u};
  }
  if (walk.make == Make::NOTHING) return {};
  if (above != nullptr && above->readOnly) {
    fail(kj::str("'", walk.wanted.c_str(),
                 "' is not there in the container, and what is mounted at '", above->target.c_str(),
                 "' is read-only: make '", inside.c_str() + 1, "' in '", above->source.c_str(),
                 "' first"));
  }
  bool isFile = walk.make == Make::FILE && walk.parts.empty();
  holder->make(inside, isFile);
  return {isFile ? Kind::FILE : Kind::FOLDER, isFile ? 0644u : 0755u};
}

ContainerTree::Entry ContainerTree::walk(Walk& walk) const {
  Entry entry{Kind::FOLDER, 0755};
  while (!walk.parts.empty()) {
    if (entry.kind == Kind::FILE) {
      if (walk.make == Make::NOTHING) return {};
      fail(kj::str("cannot make '", walk.wanted.c_str(), "' in the container: '", walk.done.c_str(),
                   "' is in the way"));
    }
    auto name = walk.parts.front();
    walk.parts.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      walk.done.resize(walk.done.empty() ? 0 : walk.done.rfind('/'));
      entry = {Kind::FOLDER, 0};
      continue;
    }
    auto path = walk.done + "/" + name;
    unsigned links = walk.links;
    entry = step(walk, path);
    if (walk.links > links) {
      entry = {Kind::FOLDER, 0};
      continue;
    }
    if (entry.kind == Kind::NOTHING) return entry;
    walk.done = path;
  }
  return entry;
}

ContainerTree::Target ContainerTree::makeTarget(const std::string& path, bool isFolder) {
  Walk walk;
  walk.wanted = path;
  walk.make = isFolder ? Make::FOLDER : Make::FILE;
  pushParts(walk.parts, path);
  auto entry = this->walk(walk);
  bool fits = entry.kind == (isFolder ? Kind::FOLDER : Kind::FILE) || entry.kind == Kind::UNKNOWN;
  if (!fits) {
    fail(kj::str("cannot mount ", isFolder ? "a folder" : "a file", " at '", path.c_str(),
                 "': the container has ", isFolder ? "a file" : "a folder", " there"));
  }
  if (walk.done.empty()) fail(kj::str("mount target '", path.c_str(), "' is the root itself"));
  bool inRoot = mountAt(walk.done) == nullptr && mountAbove(walk.done) == nullptr;
  return {walk.done, entry.mode, inRoot};
}

void ContainerTree::mount(const std::string& target, const std::string& source, bool isFolder,
                          bool readOnly) {
  mounts.push_back({target, source, isFolder, readOnly});
}

void ContainerTree::makeFolder(const std::string& path) {
  Walk walk;
  walk.wanted = path;
  walk.make = Make::FOLDER;
  pushParts(walk.parts, path);
  if (this->walk(walk).kind != Kind::FILE) return;
  fail(kj::str("cannot make the directory '", path.c_str(), "' in the container: '",
               walk.done.c_str(), "' is in the way"));
}

ContainerTree::Entry ContainerTree::look(const std::string& path) const {
  Walk walk;
  walk.wanted = path;
  pushParts(walk.parts, path);
  auto entry = this->walk(walk);
  if (entry.kind == Kind::FOLDER && walk.inTmpfs) entry.kind = Kind::UNKNOWN;
  return entry;
}

}  // namespace orch::runtime
