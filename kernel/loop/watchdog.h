// A thread that ends the process when the loop stands still, and says which plugin holds it: it
// makes the loop's thread print its own stack, and the first frame inside a plugin's file is the
// culprit. Containers survive that; the service manager starts orchd again and it adopts them.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "kernel/loop/lag-meter.h"

namespace orch::loop {

class Watchdog final {
 public:
  // Made on the loop's thread. The process aborts when the loop has stood still for `limitMs`, and
  // not before; at the latest a beat and a tenth later. Time in which the whole process was stopped
  // does not count, since the watchdog slept as well.
  Watchdog(const LagMeter& meter, uint32_t limitMs);
  ~Watchdog();

 private:
  void watch();

  const LagMeter& meter;
  const uint32_t limitMs;
  const pthread_t loopThread;
  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;  // guarded by mutex
  std::thread thread;
};

}  // namespace orch::loop
