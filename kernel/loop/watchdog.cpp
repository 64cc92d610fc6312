#include "kernel/loop/watchdog.h"

#include <signal.h>

#include "kernel/loop/crash.h"

namespace orch::loop {

namespace {
// Looks are counted and not timed: a machine that slept counts for one.
constexpr uint32_t LOOK_MS = 500;
constexpr uint32_t BEAT_MS = 1000;
// The loop may have stopped just before a beat was due: then it has stood still for a beat less
// than there was none. Three seconds are told in any case.
constexpr uint32_t WARN_LOOKS = 5;
}  // namespace

Watchdog::Watchdog(kj::Timer& timer, uint32_t limitMs, log::Logger& logger)
    : timer(timer),
      beating(beat().eagerlyEvaluate([](kj::Exception&&) {})),
      limitLooks((limitMs + BEAT_MS) / LOOK_MS),
      logger(logger),
      loopThread(pthread_self()),
      thread([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard guard(mutex);
    stopping = true;
  }
  wake.notify_all();
  thread.join();
}

kj::Promise<void> Watchdog::beat() {
  return timer.afterDelay(BEAT_MS * kj::MILLISECONDS).then([this]() {
    beats.fetch_add(1, std::memory_order_relaxed);
    return beat();
  });
}

void Watchdog::watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  uint64_t last = beats.load(std::memory_order_relaxed);
  uint32_t silent = 0;
  std::unique_lock lock(mutex);
  auto pause = std::chrono::milliseconds(LOOK_MS);
  while (!wake.wait_for(lock, pause, [this] { return stopping; })) {
    uint64_t now = beats.load(std::memory_order_relaxed);
    silent = now == last ? silent + 1 : 0;
    last = now;
    if (silent == WARN_LOOKS) {
      log::LogFields fields;
      fields.emplace_back("heldBy", kj::str(whoHolds(loopThread).c_str()));
      logger.write(schema::LogLevel::WARN, "kernel.loop-slow, waiting for it", fields);
    }
    if (silent < limitLooks) continue;
    abortThread(loopThread,
                "kernel.loop-blocked: the event loop has stood still for too long; held by ");
    return;
  }
}

}  // namespace orch::loop
