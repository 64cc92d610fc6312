// At most so many at once, first come first served; what finishes something that has begun goes
// before what begins something new.
#pragma once

#include <kj/async.h>
#include <kj/debug.h>

#include <deque>

namespace orch::runtime {

// On the loop's thread only. Must outlive the passes.
class Gate final {
 public:
  static constexpr size_t MAX_WAITING = 10'000;
  explicit Gate(unsigned places) : free(places) {}
  KJ_DISALLOW_COPY(Gate);

  // Holds a place until it is dropped.
  class Pass {
   public:
    explicit Pass(Gate& gate) : gate(&gate) {}
    Pass(Pass&& other) noexcept : gate(other.gate) { other.gate = nullptr; }
    Pass& operator=(Pass&&) = delete;
    ~Pass() noexcept(false) {
      if (gate != nullptr) gate->leave();
    }

   private:
    Gate* gate;
  };

  enum class Turn { FINISH, BEGIN };
  kj::Promise<Pass> enter(Turn turn) {
    if (free > 0) {
      --free;
      return Pass(*this);
    }
    if (finishing.size() + beginning.size() >= MAX_WAITING) {
      return KJ_EXCEPTION(OVERLOADED, "too many containers wait for the runtime");
    }
    auto pair = kj::newPromiseAndFulfiller<Pass>();
    (turn == Turn::FINISH ? finishing : beginning).push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

 private:
  using Queue = std::deque<kj::Own<kj::PromiseFulfiller<Pass>>>;

  void leave() {
    if (!admitNext(finishing) && !admitNext(beginning)) ++free;
  }
  bool admitNext(Queue& queue) {
    while (!queue.empty()) {
      auto next = kj::mv(queue.front());
      queue.pop_front();
      if (!next->isWaiting()) continue;
      next->fulfill(Pass(*this));
      return true;
    }
    return false;
  }

  unsigned free;
  Queue finishing;
  Queue beginning;
};

}  // namespace orch::runtime
