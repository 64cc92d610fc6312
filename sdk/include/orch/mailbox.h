// From any thread to the KJ loop. Threads that are not the loop's own own no KJ object; they post
// closures with plain values. Wake-ups are coalesced: any number of posts costs one write.
#pragma once

#include <kj/async-unix.h>
#include <kj/function.h>
#include <kj/io.h>

#include <mutex>
#include <vector>

namespace orch {

// Lives on the loop's thread and must outlive every thread that posts, or be closed before.
class Mailbox final {
 public:
  explicit Mailbox(kj::UnixEventPort& port);
  KJ_DISALLOW_COPY(Mailbox);

  // Thread-safe. Runs `letter` on the loop, in order of posting. False if the mailbox is closed:
  // the letter is dropped on the calling thread.
  bool post(kj::Function<void()> letter);
  // Thread-safe. Letters posted before still run if the loop turns again.
  void close();

 private:
  kj::Promise<void> deliver();

  kj::AutoCloseFd eventFd;  // before the observer: that must die first
  kj::UnixEventPort::FdObserver observer;
  std::mutex mutex;
  std::vector<kj::Function<void()>> letters;  // guarded by mutex
  bool closed = false;                        // guarded by mutex
  kj::Promise<void> delivery;
};

}  // namespace orch
