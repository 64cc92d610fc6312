// A thread that watches the loop: whoever holds it for three seconds is told in the log, and past a
// limit the process ends. Containers survive that; the service manager starts orchd again and it
// adopts them.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "kernel/log/logger.h"
#include "kernel/loop/lag-meter.h"

namespace orch::loop {

class Watchdog final {
 public:
  // Made on the loop's thread, after reportCrashes. The process aborts when the loop has stood
  // still for `limitMs`, and not before; at the latest a beat and half a second later. Time in
  // which the whole process was stopped does not count, since the watchdog slept as well. `logger`
  // outlives it.
  Watchdog(const LagMeter& meter, uint32_t limitMs, log::Logger& logger);
  ~Watchdog();

 private:
  void watch();

  const LagMeter& meter;
  const uint32_t limitLooks;
  log::Logger& logger;
  const pthread_t loopThread;
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;  // guarded by mutex
  std::thread thread;
};

}  // namespace orch::loop
