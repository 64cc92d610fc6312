#include "rootfs.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "file-access.h"
#include "orch/fail.h"

namespace orch::runtime {

namespace {

constexpr size_t MAX_LAYERS = 500;        // OVL_MAX_STACK
constexpr size_t MAX_OPTION_BYTES = 255;  // of one value of fsconfig(2)
constexpr size_t MAX_READ_BYTES = 1 << 20;

kj::AutoCloseFd openPath(const std::string& path) {
  int fd = open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    int error = errno;
    fail(kj::str("cannot use layer '", path.c_str(), "' of the image: ", strerror(error),
                 "; pull or import the image again"));
  }
  return kj::AutoCloseFd(fd);
}

std::string viaFd(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// One value of fsconfig(2). Paths that are too long for it go by way of a descriptor.
bool setString(int context, const char* key, const std::string& value) {
  kj::AutoCloseFd held;
  std::string text = value;
  if (text.size() > MAX_OPTION_BYTES) {
    held = openPath(value);
    text = viaFd(held);
  }
  return fsconfig(context, FSCONFIG_SET_STRING, key, text.c_str(), 0) == 0;
}

// What the kernel wrote about the failure, behind "e overlay: ".
std::string explanation(int context, int error) {
  char buffer[512];
  ssize_t n = read(context, buffer, sizeof(buffer) - 1);
  if (n <= 0) return strerror(error);
  std::string text(buffer, n);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  size_t colon = text.find(": ");
  return (colon == std::string::npos ? text : text.substr(colon + 2)) + " (" + strerror(error) +
         ")";
}

// Why fsopen("overlay") has failed.
kj::String whyNoContext(int error) {
  switch (error) {
    case ENODEV:
      return kj::str("this kernel cannot mount overlayfs; load its module: modprobe overlay");
    case EPERM:
      return kj::str("mounting overlayfs needs root (CAP_SYS_ADMIN)");
    case EMFILE:
    case ENFILE:
      return kj::str("overlayfs: ", strerror(error),
                     "; raise the limit of open files (LimitNOFILE of orchd's unit)");
    default:
      return kj::str("overlayfs cannot be used: ", strerror(error));
  }
}

[[noreturn]] void cannotMount(const std::string& target, const std::string& why) {
  fail(kj::str("cannot mount the root file system at '", target.c_str(), "': ", why.c_str()));
}

// Null if the kernel knows no `lowerdir+`.
kj::Maybe<kj::AutoCloseFd> configure(const std::vector<std::string>& layers,
                                     const std::string& upper, const std::string& work,
                                     const std::string& target) {
  int fd = fsopen("overlay", FSOPEN_CLOEXEC);
  if (fd < 0) cannotMount(target, whyNoContext(errno).cStr());
  kj::AutoCloseFd context(fd);
  bool first = true;
  for (size_t i = layers.size(); i-- > 0;) {
    if (!setString(context, "lowerdir+", layers[i])) {
      int error = errno;
      if (first && error == EINVAL && access(layers[i].c_str(), F_OK) == 0) return nullptr;
      openPath(layers[i]);  // fails with the layer's name
      cannotMount(target, explanation(context, error));
    }
    first = false;
  }
  if (!setString(context, "upperdir", upper) || !setString(context, "workdir", work)) {
    cannotMount(target, explanation(context, errno));
  }
  fsconfig(context, FSCONFIG_SET_STRING, "source", "overlay", 0);
  // Without `volatile` (before 5.10) everything works, more slowly.
  fsconfig(context, FSCONFIG_SET_FLAG, "volatile", nullptr, 0);
  if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    cannotMount(target, explanation(context, errno));
  }
  return kj::mv(context);
}

}  // namespace

void mountOverlay(const std::vector<std::string>& layers, const std::string& upper,
                  const std::string& work, const std::string& target) {
  if (layers.size() > MAX_LAYERS) {
    fail(kj::str("the image has ", layers.size(), " layers; overlayfs takes at most ", MAX_LAYERS));
  }
  std::vector<std::string> lower = layers;
  if (lower.empty()) {
    lower.push_back(work + ".empty");
    if (mkdir(lower[0].c_str(), 0755) != 0 && errno != EEXIST) KJ_FAIL_SYSCALL("mkdir", errno);
  }
  KJ_IF_MAYBE (context, configure(lower, upper, work, target)) {
    int mount = fsmount(*context, FSMOUNT_CLOEXEC, 0);
    if (mount < 0) cannotMount(target, explanation(*context, errno));
    kj::AutoCloseFd owned(mount);
    if (move_mount(mount, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      cannotMount(target, strerror(errno));
    }
  } else {
    mountOverlayByOptions(lower, upper, work, target, true);
  }
}

void mountOverlayByOptions(const std::vector<std::string>& layers, const std::string& upper,
                           const std::string& work, const std::string& target, bool isVolatile) {
  // Descriptors keep the text short (100 layers: 2 KiB) and free of `:` and `,`.
  std::vector<kj::AutoCloseFd> held;
  std::string options = "lowerdir=";
  for (size_t i = layers.size(); i-- > 0;) {
    held.push_back(openPath(layers[i]));
    options += viaFd(held.back()) + (i == 0 ? "" : ":");
  }
  held.push_back(openPath(upper));
  options += ",upperdir=" + viaFd(held.back());
  held.push_back(openPath(work));
  options += ",workdir=" + viaFd(held.back());
  std::string complete = options + (isVolatile ? ",volatile" : "");
  // The kernel cuts what does not fit, and may even mount what is left of it.
  if (complete.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    cannotMount(target, kj::str("the image has ", layers.size(),
                                " layers; a kernel before 6.8 takes what fits into one page of "
                                "options, some 220; build the image with fewer")
                            .cStr());
  }
  if (mount("overlay", target.c_str(), "overlay", 0, complete.c_str()) == 0) return;
  if (isVolatile && errno == EINVAL &&
      mount("overlay", target.c_str(), "overlay", 0, options.c_str()) == 0) {
    return;
  }
  cannotMount(target, strerror(errno));
}

void unmount(const std::string& target) {
  if (umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) return;
  if (errno == EINVAL || errno == ENOENT) return;
  if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return;
  if (errno == EINVAL || errno == ENOENT) return;
  KJ_FAIL_SYSCALL("umount2", errno, target.c_str());
}

kj::Maybe<kj::String> whyNoOverlay() {
  int fd = fsopen("overlay", FSOPEN_CLOEXEC);
  if (fd < 0) return whyNoContext(errno);
  close(fd);
  return nullptr;
}

RootFolder::RootFolder(const std::string& path) {
  int fd;
  KJ_SYSCALL(fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), path.c_str());
  root = kj::AutoCloseFd(fd);
}

kj::Maybe<kj::AutoCloseFd> RootFolder::open(const std::string& path, int flags) const {
  struct open_how how;
  memset(&how, 0, sizeof(how));
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  std::string relative = path.empty() ? "." : path;
  long fd = syscall(SYS_openat2, root.get(), relative.c_str(), &how, sizeof(how));
  if (fd >= 0) return kj::AutoCloseFd(static_cast<int>(fd));
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return nullptr;
  KJ_FAIL_SYSCALL("openat2", errno, path.c_str());
}

kj::String RootFolder::read(const std::string& path) const {
  KJ_IF_MAYBE (fd, open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)) {
    struct stat info;
    KJ_SYSCALL(fstat(*fd, &info));
    if (!S_ISREG(info.st_mode)) return kj::String();
    auto buffer = kj::heapArray<char>(kj::min(static_cast<size_t>(info.st_size), MAX_READ_BYTES));
    size_t size = 0;
    while (size < buffer.size()) {
      ssize_t n;
      KJ_SYSCALL(n = ::read(*fd, buffer.begin() + size, buffer.size() - size));
      if (n == 0) break;
      size += n;
    }
    return kj::heapString(buffer.begin(), size);
  }
  return kj::String();
}

void RootFolder::make(const std::string& path, bool isFile) const {
  size_t slash = path.rfind('/');
  auto name = path.substr(slash + 1);
  KJ_IF_MAYBE (folder, openDirectory(path.substr(0, slash))) {
    int made = isFile ? openat(*folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)
                      : mkdirat(*folder, name.c_str(), 0755);
    if (made < 0) failFile("make in the container", path, errno);
    if (isFile) close(made);
  } else {
    failFile("make in the container", path, ENOENT);
  }
}

void RootFolder::setMode(const std::string& folder, unsigned mode) const {
  KJ_IF_MAYBE (fd, openDirectory(folder)) {
    if (fchmod(*fd, mode) != 0) failFile("set in the container the mode of", folder, errno);
  }
}

kj::Maybe<kj::AutoCloseFd> RootFolder::openEntry(const std::string& path) const {
  return open(path, O_PATH | O_NOFOLLOW);
}

kj::Maybe<kj::AutoCloseFd> RootFolder::openDirectory(const std::string& path) const {
  return open(path, O_RDONLY | O_DIRECTORY);
}

}  // namespace orch::runtime
