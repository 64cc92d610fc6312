#include "kernel/loop/turned-for.h"

#include <catch2/catch.hpp>

#include "orch/testing/virtual-env.h"

namespace orch::loop {
namespace {

constexpr auto DEADLINE = 80 * kj::MILLISECONDS;

// A timer that the test moves: the loop itself never waits.
struct DeadlineFixture {
  // Time goes on step by step, as on a loop that turns, or at once, as on one that stood still.
  void turn(kj::Duration duration) {
    for (auto left = duration; left > 0 * kj::MILLISECONDS; left -= 1 * kj::MILLISECONDS) {
      jump(1 * kj::MILLISECONDS);
    }
  }
  void jump(kj::Duration duration) {
    timer.advanceTo(timer.now() + duration);
    scope.poll();
  }
  bool over() { return deadline.poll(scope); }

  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  kj::Promise<void> deadline = turnedFor(timer, DEADLINE);
};

TEST_CASE("deadline: it is over after its time, and not before", "[loop]") {
  DeadlineFixture f;
  CHECK_FALSE(f.over());
  f.turn(DEADLINE - 1 * kj::MILLISECONDS);
  CHECK_FALSE(f.over());
  f.turn(1 * kj::MILLISECONDS);
  CHECK(f.over());
}

TEST_CASE("deadline: time in which the loop stood still is not charged, whenever that was",
          "[loop]") {
  for (int before = 0; before < 80; ++before) {
    DeadlineFixture f;
    CHECK_FALSE(f.over());
    f.turn(before * kj::MILLISECONDS);
    f.jump(1 * kj::HOURS);
    CHECK_FALSE(f.over());
    f.turn(DEADLINE);
    CHECK(f.over());
  }
}

TEST_CASE("deadline: a loop that is always late has deadlines all the same", "[loop]") {
  DeadlineFixture f;
  int turns = 0;
  while (!f.over() && turns < 100) {
    f.jump(1 * kj::SECONDS);
    ++turns;
  }
  CHECK(turns == 16);
}

TEST_CASE("deadline: in virtual time it is exact", "[loop]") {
  testing::VirtualWorld world(1);
  auto& timer = world.env().timer();
  auto begin = timer.now();
  for (auto length : {1 * kj::NANOSECONDS, 1 * kj::MILLISECONDS, 7 * kj::MINUTES}) {
    turnedFor(timer, length).wait(world.waitScope());
  }
  CHECK(timer.now() - begin == 1 * kj::NANOSECONDS + 1 * kj::MILLISECONDS + 7 * kj::MINUTES);
}

}  // namespace
}  // namespace orch::loop
