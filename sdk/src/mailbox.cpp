#include "orch/mailbox.h"

#include <kj/debug.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace orch {

namespace {
kj::AutoCloseFd newEventFd() {
  int fd;
  KJ_SYSCALL(fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  return kj::AutoCloseFd(fd);
}
}  // namespace

Mailbox::Mailbox(kj::UnixEventPort& port)
    : eventFd(newEventFd()),
      observer(port, eventFd, kj::UnixEventPort::FdObserver::OBSERVE_READ),
      delivery(deliver().eagerlyEvaluate([](kj::Exception&& exception) {
        KJ_LOG(FATAL, "a letter to the loop failed", exception);
      })) {}

bool Mailbox::post(kj::Function<void()> letter) {
  bool wake;
  {
    std::lock_guard guard(mutex);
    if (closed) return false;
    wake = letters.empty();
    letters.push_back(kj::mv(letter));
  }
  if (wake) {
    uint64_t one = 1;
    KJ_SYSCALL(::write(eventFd, &one, sizeof(one)));
  }
  return true;
}

void Mailbox::close() {
  std::lock_guard guard(mutex);
  closed = true;
}

kj::Promise<void> Mailbox::deliver() {
  return observer.whenBecomesReadable().then([this]() {
    uint64_t count;
    KJ_NONBLOCKING_SYSCALL(::read(eventFd, &count, sizeof(count)));
    std::vector<kj::Function<void()>> batch;
    {
      std::lock_guard guard(mutex);
      batch.swap(letters);
    }
    for (auto& letter : batch) letter();
    return deliver();
  });
}

}  // namespace orch
