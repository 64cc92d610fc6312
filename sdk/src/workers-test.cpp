#include "workers.h"

#include <catch2/catch.hpp>
#include <kj/async-io.h>

#include <stdexcept>

#include "orch/attempt.h"

namespace orch {
namespace {

TEST_CASE("workers: results come back to the loop's thread", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  ThreadWorkers workers(mailbox, 4);
  auto loop = std::this_thread::get_id();
  kj::Vector<kj::Promise<void>> all;
  int sum = 0;
  bool elsewhere = true, back = true;
  for (int i = 1; i <= 100; ++i) {
    auto job = [i, loop, &elsewhere]() {
      if (std::this_thread::get_id() == loop) elsewhere = false;
      return i;
    };
    all.add(workers.run(kj::mv(job)).then([&](int value) {
      back = back && std::this_thread::get_id() == loop;
      sum += value;
    }));
  }
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  CHECK(sum == 5050);
  CHECK(elsewhere);
  CHECK(back);
}

TEST_CASE("workers: an exception of the work is the promise's", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  ThreadWorkers workers(mailbox, 1);
  auto work = workers.run([]() -> int { throw std::runtime_error("disk on fire"); });
  auto outcome = attempt(kj::mv(work)).wait(io.waitScope);
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.message() == "disk on fire");
}

TEST_CASE("workers: past the limit of what waits a caller is told so", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  ThreadWorkers workers(mailbox, 1);
  std::mutex gate;
  gate.lock();
  auto held = workers.run([&gate]() { std::lock_guard guard(gate); });
  kj::Vector<kj::Promise<void>> waiting;
  // One of them may be at work already.
  for (size_t i = 0; i <= ThreadWorkers::MAX_WAITING; ++i) waiting.add(workers.run([]() {}));
  auto refused = attempt(workers.run([]() {})).wait(io.waitScope);
  gate.unlock();
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().getType() == kj::Exception::Type::OVERLOADED);
  held.wait(io.waitScope);
  workers.run([]() {}).wait(io.waitScope);
}

TEST_CASE("workers: a dropped promise lets the work finish", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  ThreadWorkers workers(mailbox, 1);
  std::atomic<bool> done{false};
  {
    auto dropped = workers.run([&done]() { done = true; });
  }
  workers.run([]() {}).wait(io.waitScope);  // the one thread takes them in order
  CHECK(done);
}

}  // namespace
}  // namespace orch
