#include "workers.h"

#include <kj/debug.h>
#include <pthread.h>
#include <signal.h>

namespace orch {

namespace {
// Where the handler of a thread whose own stack has run over can stand. What was there before, a
// sanitizer's, comes back.
class SignalStack final {
 public:
  SignalStack() : room(new char[BYTES]) {
    stack_t own = {};
    own.ss_sp = room.get();
    own.ss_size = BYTES;
    KJ_SYSCALL(sigaltstack(&own, &before));
  }
  ~SignalStack() { sigaltstack(&before, nullptr); }
  KJ_DISALLOW_COPY(SignalStack);

 private:
  static constexpr size_t BYTES = 64 << 10;
  std::unique_ptr<char[]> room;
  stack_t before = {};
};
}  // namespace

ThreadWorkers::ThreadWorkers(Mailbox& mailbox, unsigned maxThreads,
                             std::chrono::milliseconds maxIdle)
    : mailbox(mailbox), maxThreads(maxThreads), maxIdle(maxIdle) {}

ThreadWorkers::~ThreadWorkers() noexcept(false) {
  {
    std::lock_guard guard(mutex);
    stopping = true;
  }
  mailbox.close();
  wake.notify_all();
  for (auto& entry : threads) entry.second.join();
}

kj::Promise<void> ThreadWorkers::runErased(kj::Function<void()> work) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  // Owned by the job, then by the letter that answers it. The fulfiller inside is made, used and
  // dropped on the loop's thread alone, but for a process that is ending.
  auto fulfiller =
      std::make_shared<kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>>(kj::mv(pair.fulfiller));
  forgetEnded();
  bool start;
  {
    std::lock_guard guard(mutex);
    if (queue.size() >= MAX_WAITING) {
      return KJ_EXCEPTION(OVERLOADED, "too much work waits for a thread; try again later");
    }
    queue.push_back(Job{kj::mv(work), kj::mv(fulfiller)});
    start = idle < queue.size() && threads.size() - ended.size() < maxThreads;
  }
  if (start) {
    auto number = ++started;
    threads[number] = std::thread([this, number] { serve(number); });
  }
  wake.notify_one();
  return kj::mv(pair.promise);
}

void ThreadWorkers::forgetEnded() {
  std::vector<uint64_t> numbers;
  {
    std::lock_guard guard(mutex);
    numbers.swap(ended);
  }
  for (auto number : numbers) {
    threads[number].join();  // it does nothing any more
    threads.erase(number);
  }
}

void ThreadWorkers::serve(uint64_t number) {
  // Signals belong to the loop's thread; but for its own faults, which would end the process
  // without a word if they were blocked.
  sigset_t others;
  sigfillset(&others);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&others, fault);
  pthread_sigmask(SIG_BLOCK, &others, nullptr);
  SignalStack handlers;
  for (;;) {
    std::unique_lock lock(mutex);
    ++idle;
    bool wanted = wake.wait_for(lock, maxIdle, [this] { return stopping || !queue.empty(); });
    --idle;
    if (stopping) return;
    if (!wanted) {
      ended.push_back(number);
      return;
    }
    Job job = kj::mv(queue.front());
    queue.pop_front();
    lock.unlock();

    kj::Maybe<kj::Exception> failure;
    try {
      job.work();
    } catch (...) {
      failure = currentException();
    }
    { auto finished = kj::mv(job.work); }  // what it captured dies here, not on the loop
    mailbox.post([fulfiller = kj::mv(job.fulfiller), failure = kj::mv(failure)]() mutable {
      auto& target = KJ_ASSERT_NONNULL(*fulfiller);
      KJ_IF_MAYBE (exception, failure) {
        target->reject(kj::mv(*exception));
      } else {
        target->fulfill();
      }
      *fulfiller = nullptr;
    });
  }
}

}  // namespace orch
