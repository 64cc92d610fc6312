#include "folder-watch.h"

#include <kj/debug.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>

namespace orch::discovery::file {

namespace {

constexpr uint32_t WRITING = IN_MODIFY | IN_CREATE;
constexpr uint32_t WRITTEN = IN_CLOSE_WRITE | IN_MOVED_TO;
constexpr uint32_t REMOVED = IN_DELETE | IN_MOVED_FROM;
constexpr uint32_t OVER = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED;

kj::AutoCloseFd newWatch(const std::string& folder) {
  int fd;
  KJ_SYSCALL(fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  kj::AutoCloseFd owned(fd);
  KJ_SYSCALL(
      inotify_add_watch(fd, folder.c_str(),
                        WRITING | WRITTEN | REMOVED | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR),
      folder.c_str());
  return owned;
}

}  // namespace

FolderWatch::FolderWatch(kj::UnixEventPort& port, const std::string& folder, std::string name)
    : name(std::move(name)),
      fd(newWatch(folder)),
      observer(port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

FolderWatch::Happened FolderWatch::take() {
  Happened happened;
  alignas(inotify_event) char buffer[16 << 10];
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      KJ_REQUIRE(n == 0 || errno == EAGAIN, "cannot read inotify", errno);
      return happened;
    }
    for (ssize_t at = 0; at < n;) {
      auto& event = *reinterpret_cast<inotify_event*>(buffer + at);
      at += sizeof(inotify_event) + event.len;
      if ((event.mask & OVER) != 0) happened.over = true;
      if ((event.mask & IN_Q_OVERFLOW) != 0) happened.writing = true;
      if (event.len == 0 || name != event.name) continue;
      if ((event.mask & WRITING) != 0) happened = {true, false, false, happened.over};
      if ((event.mask & WRITTEN) != 0) happened = {false, true, false, happened.over};
      if ((event.mask & REMOVED) != 0) happened = {false, false, true, happened.over};
    }
  }
}

}  // namespace orch::discovery::file
