// The real Workers: a few threads that take closures from one queue.
#pragma once

#include <condition_variable>
#include <deque>
#include <thread>

#include "orch/env.h"
#include "orch/mailbox.h"

namespace orch {

class ThreadWorkers final : public Workers {
 public:
  // Work that waits for a thread; past it a caller is told OVERLOADED.
  static constexpr size_t MAX_WAITING = 16'384;

  // Threads are started when they are first needed, up to `maxThreads`.
  ThreadWorkers(Mailbox& mailbox, unsigned maxThreads);
  // Lets running work finish and drops what is queued.
  ~ThreadWorkers() noexcept(false) override;

  kj::Promise<void> runErased(kj::Function<void()> work) override;

 private:
  struct Job {
    kj::Function<void()> work;
    std::shared_ptr<kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>> fulfiller;  // loop thread only
  };
  void serve();

  Mailbox& mailbox;
  const unsigned maxThreads;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> queue;  // guarded by mutex
  unsigned idle = 0;      // guarded by mutex
  bool stopping = false;  // guarded by mutex
  std::vector<std::thread> threads;
};

}  // namespace orch
