#include "orch/mailbox.h"

#include <catch2/catch.hpp>
#include <kj/async-io.h>

#include <atomic>
#include <thread>

namespace orch {
namespace {

TEST_CASE("mailbox: letters of four threads all arrive, each thread's in order", "[loop]") {
  constexpr int THREADS = 4, LETTERS = 5000;
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  int last[THREADS] = {};
  bool ordered = true;
  int left = THREADS * LETTERS;
  auto all = kj::newPromiseAndFulfiller<void>();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < THREADS; ++thread) {
    threads.emplace_back([&, thread] {
      for (int number = 1; number <= LETTERS; ++number) {
        mailbox.post([&, thread, number] {
          ordered = ordered && number == last[thread] + 1;
          last[thread] = number;
          if (--left == 0) all.fulfiller->fulfill();
        });
      }
    });
  }
  all.promise.wait(io.waitScope);
  for (auto& thread : threads) thread.join();
  CHECK(ordered);
  CHECK(left == 0);
}

TEST_CASE("mailbox: a closed one takes no letters", "[loop]") {
  auto io = kj::setupAsyncIo();
  Mailbox mailbox(io.unixEventPort);
  mailbox.close();
  CHECK_FALSE(mailbox.post([] {}));
}

}  // namespace
}  // namespace orch
