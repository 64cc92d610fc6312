// A thread that watches the loop: whoever holds it for three seconds is told in the log, and past a
// limit the process ends. Containers survive that; the service manager starts orchd again and it
// adopts them.
#pragma once

#include <kj/timer.h>
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "kernel/log/logger.h"

namespace orch::loop {

class Watchdog final {
 public:
  // Made on the loop's thread, after reportCrashes. The process aborts when the loop has stood
  // still for `limitMs`, and not before; at the latest a beat and half a second later. Time in
  // which the whole process was stopped does not count, since the watchdog slept as well. `timer`
  // and `logger` outlive it.
  Watchdog(kj::Timer& timer, uint32_t limitMs, log::Logger& logger);
  ~Watchdog();

 private:
  kj::Promise<void> beat();
  void watch();

  kj::Timer& timer;
  std::atomic<uint64_t> beats{0};  // counts up once a second while the loop turns
  kj::Promise<void> beating;
  const uint32_t limitLooks;
  log::Logger& logger;
  const pthread_t loopThread;
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;  // guarded by mutex
  std::thread thread;
};

}  // namespace orch::loop
