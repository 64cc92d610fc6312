// Logs of several tasks as one stream.
#include "serve/log-merge.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/testing/virtual-env.h"

namespace orch::control::manager {
namespace {

struct Reader final : public schema::LogSink::Server {
  explicit Reader(std::string& read) : read(read) {}
  kj::Promise<void> lines(LinesContext context) override {
    for (auto line : context.getParams().getLines()) {
      read += std::string(line.getTaskName().cStr()) + std::to_string(line.getTimeNs()) + " ";
    }
    return kj::READY_NOW;
  }
  std::string& read;
};

// Logs `a`, `b`, … and what their reader got of them.
struct Merge {
  explicit Merge(bool follow)
      : merge(kj::refcounted<LogMerge>(world.env(), kj::heap<Reader>(read), follow)),
        running(merge->run().promise().eagerlyEvaluate([](kj::Exception&&) {})) {}
  ~Merge() { merge->close(); }

  kj::Promise<void> say(uint64_t log, std::initializer_list<int64_t> times) {
    auto request = merge->sinkOf(log).linesRequest();
    auto lines = request.initLines(times.size());
    uint32_t i = 0;
    for (auto time : times) {
      lines[i].setTimeNs(time);
      lines[i++].setTaskName(std::string(1, static_cast<char>('a' + log - 1)).c_str());
    }
    auto sent = request.send().ignoreResult().eagerlyEvaluate([](kj::Exception&&) {});
    world.settle();
    return sent;
  }
  std::string take() { return std::exchange(read, {}); }

  testing::VirtualWorld world{testing::testSeed()};
  std::string read;
  kj::Own<LogMerge> merge;
  kj::Promise<void> running;
};

TEST_CASE("logs: lines of several tasks come in the order of their times", "[manager]") {
  Merge merge(false);
  auto a = merge.merge->begin(false);
  auto b = merge.merge->begin(false);
  auto first = merge.say(a, {1, 4, 5});
  CHECK(merge.take() == "");  // the other may have earlier ones
  auto second = merge.say(b, {2, 3, 9});
  CHECK(merge.take() == "a1 b2 b3 a4 a5 ");
  first.wait(merge.world.waitScope());
  merge.merge->end(a);
  merge.world.settle();
  CHECK(merge.take() == "b9 ");
  second.wait(merge.world.waitScope());
  merge.merge->end(b);
  merge.merge->finish();
  merge.running.wait(merge.world.waitScope());
}

TEST_CASE("logs: one that says nothing holds the others up for a moment only", "[manager]") {
  Merge merge(true);
  auto a = merge.merge->begin(false);
  auto b = merge.merge->begin(false);
  auto one = merge.say(a, {1, 2});
  CHECK(merge.take() == "");
  merge.world.advance(LogMerge::FIRST_PATIENCE);
  CHECK(merge.take() == "a1 a2 ");
  auto two = merge.say(a, {7});
  merge.world.advance(LogMerge::PATIENCE / 2);
  CHECK(merge.take() == "");
  auto three = merge.say(b, {6});
  CHECK(merge.take() == "b6 ");
  merge.world.advance(LogMerge::PATIENCE);
  CHECK(merge.take() == "a7 ");
  // One that began late delays nothing at first, and its own order is never changed.
  auto c = merge.merge->begin(true);
  auto four = merge.say(c, {8, 3});
  merge.world.advance(LogMerge::PATIENCE);
  CHECK(merge.take() == "c8 c3 ");
}

TEST_CASE("logs: a log that does not end does not hold the others up for ever", "[manager]") {
  Merge merge(false);
  auto a = merge.merge->begin(false);
  merge.merge->begin(false);
  auto one = merge.say(a, {1});
  merge.world.advance(LogMerge::END_PATIENCE / 2);
  CHECK(merge.take() == "");
  merge.world.advance(LogMerge::END_PATIENCE);
  CHECK(merge.take() == "a1 ");
}

TEST_CASE("logs: what comes after their reader has gone fails", "[manager]") {
  Merge merge(true);
  auto a = merge.merge->begin(false);
  auto sink = merge.merge->sinkOf(a);
  merge.merge->close();
  auto request = sink.linesRequest();
  request.initLines(1);
  auto sent = attempt(request.send().ignoreResult()).wait(merge.world.waitScope());
  CHECK(!sent.ok());
}

}  // namespace
}  // namespace orch::control::manager
