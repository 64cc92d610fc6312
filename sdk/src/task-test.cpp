#include "orch/task.h"

#include <catch2/catch.hpp>
#include <kj/async-io.h>

#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/testing/virtual-env.h"

namespace orch {
namespace {

// Counts what is alive, to see that cancelling frees everything.
struct Counted {
  explicit Counted(int& live, std::string text = "") : live(live), text(std::move(text)) { ++live; }
  Counted(Counted&& other) : live(other.live), text(std::move(other.text)) { ++live; }
  ~Counted() { --live; }
  int& live;
  std::string text;
};

Task<std::string> join(kj::Timer& timer, Counted a, Counted b) {
  co_await timer.afterDelay(1 * kj::MILLISECONDS);
  co_return a.text + b.text;
}

Task<size_t> story(kj::Timer& timer, int& live) {
  Counted begin(live, "once upon a time, long enough for the heap");
  auto both = co_await join(timer, Counted(live, "a"), Counted(live, "b"));
  size_t total = both.size();
  for (int i = 0; i < 3; ++i) {
    auto more = co_await join(timer, Counted(live, std::to_string(i)), Counted(live, "x"));
    total += more.size();
  }
  std::vector<Counted> pages;
  for (int i = 0; i < 3; ++i) {
    pages.emplace_back(live, "page");
    co_await timer.afterDelay(1 * kj::MILLISECONDS);
  }
  co_return total;
}

TEST_CASE("task: values, temporaries and loops come through awaits", "[task]") {
  testing::VirtualWorld world(1);
  int live = 0;
  CHECK(story(world.env().timer(), live).wait(world.waitScope()) == 8);
  CHECK(live == 0);
}

TEST_CASE("task: dropped at any instant it frees everything", "[task]") {
  testing::VirtualWorld world(1);
  int live = 0;
  for (int us = 0; us < 8000; us += 250) {
    {
      kj::Promise<size_t> running = story(world.env().timer(), live);
      world.advance(us * kj::MICROSECONDS);
    }
    CHECK(live == 0);
  }
}

Task<int> failing(kj::Timer& timer) {
  co_await timer.afterDelay(1 * kj::MILLISECONDS);
  kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too much"));
}

TEST_CASE("task: an exception keeps its type, and attempt makes it a value", "[task]") {
  testing::VirtualWorld world(1);
  auto outcome = attempt(failing(world.env().timer())).wait(world.waitScope());
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.error().getType() == kj::Exception::Type::OVERLOADED);
  CHECK(outcome.message() == "too much");
}

Task<int> countdown(int n) {
  if (n == 0) co_return 0;
  auto rest = co_await countdown(n - 1);
  co_return rest + 1;
}

TEST_CASE("task: awaits ten thousand deep", "[task]") {
  testing::VirtualWorld world(1);
  CHECK(countdown(10'000).wait(world.waitScope()) == 10'000);
}

}  // namespace
}  // namespace orch
