#include "watchers.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/testing/virtual-env.h"

namespace orch::discovery {
namespace {

struct Told {
  std::vector<std::string> lines;  // `a:1 b:1`, or `! why`
  kj::Maybe<kj::ForkedPromise<void>> held;
};

class ToldSink final : public schema::DiscoverySink::Server {
 public:
  explicit ToldSink(Told& told) : told(told) {}
  kj::Promise<void> entries(EntriesContext context) override {
    std::string line;
    for (auto entry : context.getParams().getEntries()) {
      line += (line.empty() ? "" : " ") + std::string(entry.getAddress().cStr());
    }
    return add(line);
  }
  kj::Promise<void> failed(FailedContext context) override {
    return add(std::string("! ") + context.getParams().getReason().cStr());
  }

 private:
  kj::Promise<void> add(std::string line) {
    told.lines.push_back(std::move(line));
    KJ_IF_MAYBE (gate, told.held) return gate->addBranch();
    return kj::READY_NOW;
  }
  Told& told;
};

using Lines = std::vector<std::string>;

TEST_CASE("watchers: a failure and its end are told, and nothing twice", "[discovery]") {
  testing::VirtualWorld world(1);
  auto watchers = kj::refcounted<Watchers>();
  Told told;
  auto running = watchers->watch(kj::heap<ToldSink>(told)).promise().eagerlyEvaluate(nullptr);
  world.settle();
  CHECK(told.lines.empty());
  watchers->failed("no such file");
  watchers->failed("no such file");
  world.settle();
  watchers->present(answerOf({}));
  world.settle();
  watchers->present(answerOf({"a:1", "b:1"}));
  watchers->present(answerOf({"a:1", "b:1"}));
  world.settle();
  watchers->failed("refused");
  world.settle();
  watchers->present(answerOf({"a:1", "b:1"}));
  world.settle();
  watchers->present(answerOf({}));
  world.settle();
  CHECK(told.lines == Lines{"! no such file", "", "a:1 b:1", "! refused", "a:1 b:1",
                            "! it names nobody any more; the entries before stand"});
  Told late;
  auto second = watchers->watch(kj::heap<ToldSink>(late)).promise().eagerlyEvaluate(nullptr);
  world.settle();
  CHECK(late.lines == Lines{"a:1 b:1", "! it names nobody any more; the entries before stand"});
}

TEST_CASE("watchers: what changes during a call is in the next", "[discovery]") {
  testing::VirtualWorld world(1);
  auto watchers = kj::refcounted<Watchers>();
  Told told;
  auto gate = kj::newPromiseAndFulfiller<void>();
  told.held = gate.promise.fork();
  watchers->present(answerOf({"a:1"}));
  auto running = watchers->watch(kj::heap<ToldSink>(told)).promise().eagerlyEvaluate(nullptr);
  world.settle();
  watchers->present(answerOf({"b:1"}));
  watchers->failed("refused");
  watchers->present(answerOf({"c:1"}));
  world.settle();
  told.held = nullptr;
  gate.fulfiller->fulfill();
  world.settle();
  CHECK(told.lines == Lines{"a:1", "c:1"});
}

TEST_CASE("watchers: the end of the backend ends every watch", "[discovery]") {
  testing::VirtualWorld world(1);
  auto watchers = kj::refcounted<Watchers>();
  Told told;
  auto running = attempt(watchers->watch(kj::heap<ToldSink>(told))).promise();
  world.settle();
  watchers->end();
  auto outcome = running.wait(world.waitScope());
  REQUIRE(!outcome.ok());
  CHECK(outcome.error().getType() == kj::Exception::Type::DISCONNECTED);
}

}  // namespace
}  // namespace orch::discovery
