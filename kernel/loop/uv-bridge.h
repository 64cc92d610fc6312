// libuv inside the KJ loop. KJ owns the thread and its epoll; uv's own epoll descriptor is one of
// the things that KJ watches. The only access is with(), which makes uv look again afterwards.
#pragma once

#include <kj/async-unix.h>
#include <kj/timer.h>
#include <uv.h>

namespace orch::loop {

// Lives on the loop's thread. Close every uv handle before it goes.
class UvBridge final {
 public:
  UvBridge(kj::UnixEventPort& port, kj::Timer& timer);
  ~UvBridge() noexcept(false);
  KJ_DISALLOW_COPY(UvBridge);

  // Calls f(uv_loop_t*) and answers with its result.
  template <typename F>
  auto with(F&& f) {
    KJ_DEFER(kick());
    return f(&loop);
  }
  // Runs what uv has to do now, without waiting: for handles that are being closed.
  void drain();
  // Turns of the uv loop so far: an idle bridge does not turn.
  uint64_t turns() const { return turnCount; }

 private:
  void kick();
  kj::Promise<void> pump();

  uv_loop_t loop;
  kj::Timer& timer;
  kj::Own<kj::UnixEventPort::FdObserver> observer;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;
  bool kicked = false;
  uint64_t turnCount = 0;
  kj::Promise<void> pumping;
};

}  // namespace orch::loop
