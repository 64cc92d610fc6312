#include "kernel/loop/uv-bridge.h"

#include <kj/debug.h>
#include <poll.h>

#include <cstdlib>

namespace orch::loop {

UvBridge::UvBridge(kj::UnixEventPort& port, kj::Timer& timer) : timer(timer), pumping(nullptr) {
  KJ_REQUIRE(uv_loop_init(&loop) == 0, "cannot make a libuv loop");
  observer = kj::heap<kj::UnixEventPort::FdObserver>(port, uv_backend_fd(&loop),
                                                     kj::UnixEventPort::FdObserver::OBSERVE_READ);
  pumping = pump().eagerlyEvaluate([](kj::Exception&& exception) {
    KJ_LOG(FATAL, "the libuv loop died", exception);
    abort();
  });
}

UvBridge::~UvBridge() noexcept(false) {
  pumping = nullptr;
  observer = nullptr;  // before its descriptor
  drain();
  KJ_ASSERT(uv_loop_close(&loop) == 0, "a libuv handle was left open");
}

void UvBridge::drain() { uv_run(&loop, UV_RUN_NOWAIT); }

// uv queues its epoll_ctl calls until the next turn, and may have a nearer timer than the one that
// the pump sleeps on: whoever touched uv wakes the pump.
void UvBridge::kick() {
  KJ_IF_MAYBE (fulfiller, sleeper) {
    (*fulfiller)->fulfill();
    sleeper = nullptr;
  } else {
    kicked = true;
  }
}

kj::Promise<void> UvBridge::pump() {
  ++turnCount;
  uv_run(&loop, UV_RUN_NOWAIT);
  // A loop with no active handle answers 0, which would spin.
  int timeoutMs = uv_loop_alive(&loop) ? uv_backend_timeout(&loop) : -1;
  if (kicked) {
    kicked = false;
    timeoutMs = 0;
  }
  if (timeoutMs != 0) {
    // KJ watches by edge, uv reads by level: what uv left unread makes no new edge.
    struct pollfd poller = {uv_backend_fd(&loop), POLLIN, 0};
    if (::poll(&poller, 1, 0) > 0) timeoutMs = 0;
  }
  // Not evalLater: KJ does not look at its port while its queue has events.
  if (timeoutMs == 0) {
    return timer.afterDelay(0 * kj::MILLISECONDS).then([this] { return pump(); });
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  sleeper = kj::mv(pair.fulfiller);
  auto woken = observer->whenBecomesReadable().exclusiveJoin(kj::mv(pair.promise));
  if (timeoutMs > 0) woken = woken.exclusiveJoin(timer.afterDelay(timeoutMs * kj::MILLISECONDS));
  return woken.then([this] { return pump(); });
}

}  // namespace orch::loop
