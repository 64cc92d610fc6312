// At most so many at once, in the order of asking.
#pragma once

#include <kj/async.h>

#include <deque>

namespace orch::control::agent {

// On the loop's thread. Must outlive the passes; how many wait is bounded by the callers.
class Semaphore final {
 public:
  explicit Semaphore(unsigned places) : free(places) {}
  KJ_DISALLOW_COPY(Semaphore);

  // Holds a place until it is dropped.
  class Pass final {
   public:
    explicit Pass(Semaphore& semaphore) : semaphore(&semaphore) {}
    Pass(Pass&& other) noexcept : semaphore(other.semaphore) { other.semaphore = nullptr; }
    ~Pass() noexcept(false) {
      if (semaphore != nullptr) semaphore->leave();
    }
    KJ_DISALLOW_COPY(Pass);

   private:
    Semaphore* semaphore;
  };

  kj::Promise<Pass> enter() {
    if (free > 0) {
      --free;
      return Pass(*this);
    }
    auto pair = kj::newPromiseAndFulfiller<Pass>();
    waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  void leave() {
    while (!waiting.empty()) {
      auto next = kj::mv(waiting.front());
      waiting.pop_front();
      if (!next->isWaiting()) continue;
      next->fulfill(Pass(*this));
      return;
    }
    ++free;
  }

  unsigned free;
  std::deque<kj::Own<kj::PromiseFulfiller<Pass>>> waiting;
};

}  // namespace orch::control::agent
