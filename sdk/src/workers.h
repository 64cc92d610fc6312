// The real Workers: a few threads that take closures from one queue.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "orch/env.h"
#include "orch/mailbox.h"

namespace orch {

class ThreadWorkers final : public Workers {
 public:
  static constexpr unsigned MAX_THREADS = 8;
  // Work that waits for a thread; past it a caller is told OVERLOADED.
  static constexpr size_t MAX_WAITING = 16'384;
  // A thread that has had nothing to do for so long ends.
  static constexpr std::chrono::milliseconds MAX_IDLE{10'000};

  // Threads are started when they are first needed.
  explicit ThreadWorkers(Mailbox& mailbox, unsigned maxThreads = MAX_THREADS,
                         std::chrono::milliseconds maxIdle = MAX_IDLE);
  // Lets running work finish and drops what is queued.
  ~ThreadWorkers() noexcept(false) override;

  kj::Promise<void> runErased(kj::Function<void()> work) override;

 private:
  struct Job {
    kj::Function<void()> work;
    std::shared_ptr<kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>> fulfiller;  // loop thread only
  };
  void serve(uint64_t number);
  void forgetEnded();

  Mailbox& mailbox;
  const unsigned maxThreads;
  const std::chrono::milliseconds maxIdle;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> queue;        // guarded by mutex
  unsigned idle = 0;            // guarded by mutex
  bool stopping = false;        // guarded by mutex
  std::vector<uint64_t> ended;  // guarded by mutex: numbers of `threads`
  std::map<uint64_t, std::thread> threads;
  uint64_t started = 0;
};

}  // namespace orch
