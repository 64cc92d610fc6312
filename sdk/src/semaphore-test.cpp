#include "orch/semaphore.h"

#include <catch2/catch.hpp>
#include <kj/vector.h>

namespace orch {
namespace {

struct Loop {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
};

TEST_CASE("semaphore: no more than its places are taken, the rest go in order", "[env]") {
  Loop loop;
  Semaphore semaphore(2);
  auto a = semaphore.enter().wait(loop.scope);
  auto b = kj::heap(semaphore.enter().wait(loop.scope));
  auto third = semaphore.enter(), fourth = semaphore.enter();
  CHECK_FALSE(third.poll(loop.scope));
  b = nullptr;
  CHECK(third.poll(loop.scope));
  CHECK_FALSE(fourth.poll(loop.scope));
  third = nullptr;  // never looked at: its place goes on
  CHECK(fourth.poll(loop.scope));
}

TEST_CASE("semaphore: who finishes something goes before who begins", "[env]") {
  Loop loop;
  Semaphore semaphore(1);
  auto held = kj::heap(semaphore.enter().wait(loop.scope));
  auto begins = semaphore.enter();
  auto finishes = semaphore.enter(Semaphore::Turn::FIRST);
  held = nullptr;
  CHECK(finishes.poll(loop.scope));
  CHECK_FALSE(begins.poll(loop.scope));
}

TEST_CASE("semaphore: one that has given up is passed over, and a place is never lost", "[env]") {
  Loop loop;
  Semaphore semaphore(1);
  auto held = kj::heap(semaphore.enter().wait(loop.scope));
  auto gives = semaphore.enter(), stays = semaphore.enter();
  gives = nullptr;
  held = nullptr;
  { auto pass = stays.wait(loop.scope); }
  CHECK(semaphore.enter().poll(loop.scope));
}

TEST_CASE("semaphore: a full queue is told, with the words of its owner", "[env]") {
  Loop loop;
  Semaphore semaphore(1, "too many pulls wait"_kj);
  auto held = semaphore.enter().wait(loop.scope);
  kj::Vector<kj::Promise<Semaphore::Pass>> queue;
  for (size_t i = 0; i < Semaphore::MAX_WAITING; ++i) queue.add(semaphore.enter());
  KJ_IF_MAYBE (refusal, kj::runCatchingExceptions([&] { semaphore.enter().wait(loop.scope); })) {
    CHECK(refusal->getType() == kj::Exception::Type::OVERLOADED);
    CHECK(refusal->getDescription() == "too many pulls wait");
  } else {
    FAIL("taken in");
  }
}

}  // namespace
}  // namespace orch
