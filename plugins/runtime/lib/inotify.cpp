#include "inotify.h"

#include <kj/debug.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace orch::runtime {

class Inotify::Subscription final : public Inotify::Watch {
 public:
  Subscription(Inotify& inotify, int number, kj::Function<void(kj::StringPtr)> changed)
      : changed(kj::mv(changed)), inotify(inotify), number(number) {
    inotify.watches.emplace(number, this);
  }
  ~Subscription() noexcept(false) override {
    auto range = inotify.watches.equal_range(number);
    for (auto it = range.first; it != range.second; ++it) {
      if (it->second != this) continue;
      inotify.watches.erase(it);
      break;
    }
    // Fails if the folder is gone, which removed the watch.
    if (inotify.watches.count(number) == 0) inotify_rm_watch(inotify.fd, number);
  }
  kj::Function<void(kj::StringPtr)> changed;

 private:
  Inotify& inotify;
  int number;
};

namespace {
kj::AutoCloseFd newInotify() {
  int fd;
  KJ_SYSCALL(fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  return kj::AutoCloseFd(fd);
}
}  // namespace

Inotify::Inotify(kj::UnixEventPort& port)
    : fd(newInotify()),
      observer(port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      delivery(deliver().eagerlyEvaluate(
          [](kj::Exception&& e) { KJ_LOG(ERROR, "inotify stopped", e); })) {}

kj::Own<Inotify::Watch> Inotify::watch(const std::string& folder, uint32_t mask,
                                       kj::Function<void(kj::StringPtr)> changed) {
  int number;
  KJ_SYSCALL(number = inotify_add_watch(fd, folder.c_str(), mask | IN_MASK_ADD | IN_ONLYDIR),
             folder.c_str());
  return kj::heap<Subscription>(*this, number, kj::mv(changed));
}

kj::Promise<void> Inotify::deliver() {
  return observer.whenBecomesReadable().then([this] {
    drain();
    return deliver();
  });
}

void Inotify::drain() {
  alignas(inotify_event) char buffer[16 << 10];
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n <= 0) {
      KJ_REQUIRE(n == 0 || errno == EAGAIN || errno == EINTR, "cannot read inotify", errno);
      return;
    }
    for (ssize_t at = 0; at < n;) {
      auto& event = *reinterpret_cast<inotify_event*>(buffer + at);
      at += sizeof(inotify_event) + event.len;
      bool lost = (event.mask & IN_Q_OVERFLOW) != 0;
      auto range =
          lost ? std::make_pair(watches.begin(), watches.end()) : watches.equal_range(event.wd);
      for (auto it = range.first; it != range.second; ++it) {
        it->second->changed(lost || event.len == 0 ? kj::StringPtr() : kj::StringPtr(event.name));
      }
    }
  }
}

}  // namespace orch::runtime
