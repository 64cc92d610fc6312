#include "workers.h"

#include <catch2/catch.hpp>
#include <kj/async-io.h>

#include <future>
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
  // Until the thread has taken something, there is no room.
  for (auto& promise : waiting) attempt(kj::mv(promise)).wait(io.waitScope);
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

TEST_CASE("workers: work that hangs in one plugin's threads holds up no other's", "[loop]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto &hung = env->withOwnWorkers(), &other = env->withOwnWorkers();
  std::promise<void> mountAnswers;
  auto answer = mountAnswers.get_future().share();
  kj::Vector<kj::Promise<void>> stuck;
  for (unsigned i = 0; i < 2 * ThreadWorkers::MAX_THREADS; ++i) {
    stuck.add(hung.workers().run([answer]() { answer.wait(); }));
  }
  auto limit = env->timer().afterDelay(1 * kj::MINUTES).then([]() -> int {
    KJ_FAIL_REQUIRE("another's work hangs with it");
  });
  auto own = env->workers().run([]() { return 1; });
  auto others = other.workers().run([]() { return 2; });
  auto both = own.then(
      [&others](int first) { return others.then([first](int second) { return first + second; }); });
  auto sum = attempt(both.exclusiveJoin(kj::mv(limit))).wait(io.waitScope);
  mountAnswers.set_value();
  REQUIRE(sum.ok());
  CHECK(sum.value() == 3);
  kj::joinPromises(stuck.releaseAsArray()).wait(io.waitScope);
}

// Tells when its thread ends.
struct LastWords {
  std::promise<void> ended;
  ~LastWords() { ended.set_value(); }
};

TEST_CASE("workers: a thread without work ends, and work finds another", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  ThreadWorkers workers(mailbox, 1, std::chrono::milliseconds(0));
  for (int i = 0; i < 3; ++i) {
    auto work = workers.run([]() {
      thread_local LastWords words;
      return words.ended.get_future().share();
    });
    auto ended = work.wait(io.waitScope);
    CHECK(ended.wait_for(std::chrono::minutes(1)) == std::future_status::ready);
  }
}

}  // namespace
}  // namespace orch
