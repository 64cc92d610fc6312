#include "lib/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <thread>

#include "orch/attempt.h"

namespace orch::network {

namespace {

constexpr const char* OWN_NAMESPACE = "/proc/thread-self/ns/net";

// The new thread inherits the namespace of the calling one; what it changes dies with it. An error
// comes over as a value: KJ ends the process when what one thread threw is freed by another.
template <typename F>
void onThread(F&& work) {
  kj::Maybe<kj::Exception> failure;
  std::thread([&] {
    auto done = attemptNow(work);
    if (!done.ok()) failure = kj::mv(done.error());
  }).join();
  KJ_IF_MAYBE (exception, failure) kj::throwFatalException(kj::mv(*exception));
}

kj::AutoCloseFd openRead(const char* path) {
  int fd;
  KJ_SYSCALL(fd = open(path, O_RDONLY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

}  // namespace

NewNamespace makeNamespace() {
  NewNamespace made;
  onThread([&] {
    KJ_SYSCALL(unshare(CLONE_NEWNET));
    made.handle = openRead(OWN_NAMESPACE);
    made.inside = kj::heap<Rtnetlink>();
  });
  return made;
}

void pin(int handle, kj::StringPtr path, const Step& step) {
  if (step) step();
  int file;
  KJ_SYSCALL(file = open(path.cStr(), O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600), path);
  kj::AutoCloseFd closed(file);
  auto from = kj::str("/proc/self/fd/", handle);
  if (step) step();
  if (mount(from.cStr(), path.cStr(), nullptr, MS_BIND, nullptr) == 0) return;
  int error = errno;
  unlink(path.cStr());
  KJ_FAIL_SYSCALL("mount", error, path);
}

NewNamespace makeNamespace(kj::StringPtr path) {
  auto made = makeNamespace();
  pin(made.handle, path);
  return made;
}

bool isPinned(kj::StringPtr path) {
  struct statfs about;
  return statfs(path.cStr(), &about) == 0 && about.f_type == NSFS_MAGIC;
}

void dropPin(kj::StringPtr path, const Step& step) {
  if (step) step();
  if (umount2(path.cStr(), MNT_DETACH) != 0) {
    int error = errno;
    // EINVAL: a file without a mount, the trace of a crash in between.
    KJ_ASSERT(error == EINVAL || error == ENOENT, "cannot unmount a namespace's pin", path,
              strerror(error));
  }
  if (step) step();
  if (unlink(path.cStr()) != 0) {
    int error = errno;
    KJ_ASSERT(error == ENOENT, "cannot remove a namespace's pin", path, strerror(error));
  }
}

void inNamespace(kj::StringPtr path, kj::FunctionParam<void()> work) {
  auto handle = openRead(path.cStr());
  inNamespace(handle.get(), work);
}

void inNamespace(int handle, kj::FunctionParam<void()> work) {
  onThread([&] {
    KJ_SYSCALL(setns(handle, CLONE_NEWNET));
    work();
  });
}

}  // namespace orch::network
