// At most so many at once. With one place it is a lock that is held across awaits.
#pragma once

#include <kj/async.h>
#include <kj/string.h>

#include <deque>
#include <utility>

namespace orch {

// On the loop's thread only. Must outlive its passes.
class Semaphore final {
 public:
  static constexpr size_t MAX_WAITING = 10'000;

  // `overloaded` is what one is told who comes when so many wait already.
  explicit Semaphore(unsigned places, kj::StringPtr overloaded = "too many calls wait already"_kj)
      : free(places), overloaded(overloaded) {}
  KJ_DISALLOW_COPY(Semaphore);

  // Holds a place until it is dropped or released.
  class Pass final {
   public:
    explicit Pass(Semaphore& semaphore) : semaphore(&semaphore) {}
    Pass(Pass&& other) noexcept : semaphore(other.semaphore) { other.semaphore = nullptr; }
    ~Pass() noexcept(false) { release(); }
    void release() {
      if (semaphore != nullptr) std::exchange(semaphore, nullptr)->leave();
    }
    KJ_DISALLOW_COPY(Pass);

   private:
    Semaphore* semaphore;
  };

  // In the order of asking; who asks FIRST, as to finish what has begun, goes before all others.
  enum class Turn { FIRST, IN_ORDER };
  // Dropping the promise gives up the place in the queue. Fails with OVERLOADED if the queue is
  // full.
  kj::Promise<Pass> enter(Turn turn = Turn::IN_ORDER) {
    if (free > 0) {
      --free;
      return Pass(*this);
    }
    if (first.size() + inOrder.size() >= MAX_WAITING) {
      return kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                           kj::str(overloaded));
    }
    auto pair = kj::newPromiseAndFulfiller<Pass>();
    (turn == Turn::FIRST ? first : inOrder).push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  using Queue = std::deque<kj::Own<kj::PromiseFulfiller<Pass>>>;

  void leave() {
    if (!admitNext(first) && !admitNext(inOrder)) ++free;
  }
  bool admitNext(Queue& queue) {
    while (!queue.empty()) {
      auto next = kj::mv(queue.front());
      queue.pop_front();
      if (!next->isWaiting()) continue;
      // If it is cancelled before it sees its pass, the pass comes back here.
      next->fulfill(Pass(*this));
      return true;
    }
    return false;
  }

  unsigned free;
  kj::StringPtr overloaded;
  Queue first;
  Queue inOrder;
};

}  // namespace orch
