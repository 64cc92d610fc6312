#include "watches.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::integration::templates {
namespace {

Query keyQuery(const char* name) {
  Query query;
  query.kind = Query::Kind::KEY;
  query.name = name;
  return query;
}

// Answers keys; whoever asks is remembered as long as he does.
class KeySource final : public Source {
 public:
  bool knows(const Query& query) const override { return query.kind == Query::Kind::KEY; }
  Task<void> follow(Query query, Listener& listener) override {
    asked[query.name] = &listener;
    ++begun;
    KJ_DEFER(asked.erase(query.name));
    co_await kj::Promise<void>(kj::NEVER_DONE);
  }
  std::map<std::string, Listener*> asked;
  int begun = 0;
};

struct Asking {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  KeySource source;
  Watches watches{sourcesOf(source)};

  static kj::Vector<Source*> sourcesOf(Source& source) {
    kj::Vector<Source*> all;
    all.add(&source);
    return all;
  }
};

TEST_CASE("template: a question is asked once, for as long as anybody asks it", "[template]") {
  Asking bench;
  Watches::User one(bench.watches);
  {
    Watches::User two(bench.watches);
    one.want({keyQuery("a"), keyQuery("b")});
    two.want({keyQuery("b"), keyQuery("c")});
    CHECK((bench.source.asked.size() == 3 && bench.source.begun == 3));
    auto change = two.whenChanged(two.changes());
    bench.source.asked["a"]->answered(Value("1"));
    CHECK(!change.poll(bench.scope));
    CHECK((one.changes() == 1 && two.changes() == 0));
    bench.source.asked["b"]->answered(Value("2"));
    CHECK(change.poll(bench.scope));
    change.wait(bench.scope);
    // The same again is nothing new; and what was seen before is told at once.
    bench.source.asked["b"]->answered(Value("2"));
    CHECK((one.changes() == 2 && two.changes() == 1));
    CHECK(two.whenChanged(0).poll(bench.scope));
    CHECK(bench.watches.answers()->at(keyQuery("b")) == Value("2"));
  }
  CHECK(bench.source.asked.size() == 2);
  one.want({keyQuery("b")});
  CHECK(bench.source.asked.size() == 1);
  CHECK(bench.watches.answers()->count(keyQuery("a")) == 0);
  CHECK(bench.source.begun == 3);
}

TEST_CASE("template: a source knows when all have made something of its answers", "[template]") {
  Asking bench;
  Watches::User one(bench.watches);
  one.want({keyQuery("a")});
  CHECK(bench.watches.whenSettled().poll(bench.scope));
  kj::Promise<void> first = nullptr, second = nullptr;
  {
    Watches::User two(bench.watches), other(bench.watches);
    two.want({keyQuery("a")});
    other.want({keyQuery("b")});
    bench.source.asked["a"]->answered(Value("1"));
    first = bench.watches.whenSettled();
    one.settled(one.changes());
    CHECK(!first.poll(bench.scope));
    bench.source.asked["a"]->answered(Value("2"));
    second = bench.watches.whenSettled();
    // Of what came meanwhile it has not made anything yet.
    two.settled(1);
    CHECK(first.poll(bench.scope));
    CHECK(!second.poll(bench.scope));
    one.settled(2);
    CHECK(!second.poll(bench.scope));
  }
  // Who ends waits for nothing.
  CHECK(second.poll(bench.scope));
}

TEST_CASE("template: a source that fails is told of, and its last answer stays", "[template]") {
  Asking bench;
  Watches::User user(bench.watches);
  user.want({keyQuery("a")});
  bench.source.asked["a"]->answered(Value("1"));
  bench.source.asked["a"]->failed("nobody answers");
  CHECK(user.problem() == "key 'a': nobody answers");
  CHECK(user.changes() == 2);
  bench.source.asked["a"]->failed("nobody answers");
  CHECK(user.changes() == 2);
  CHECK(bench.watches.answers()->at(keyQuery("a")) == Value("1"));
  bench.source.asked["a"]->answered(Value("1"));
  CHECK(user.problem() == "");
}

TEST_CASE("template: what nobody answers, or is too much, is refused", "[template]") {
  Asking bench;
  Watches::User user(bench.watches);
  user.want({keyQuery("a")});
  Query services;
  services.kind = Query::Kind::SERVICES;
  auto outcome = attemptNow([&] { user.want({keyQuery("b"), services}); });
  REQUIRE(!outcome.ok());
  CHECK(outcome.message() ==
        "nobody here answers services; name the agents of a consul in the setting 'consul'");
  CHECK((bench.source.asked.size() == 1 && bench.source.asked.count("a") == 1));
  std::set<Query> many;
  for (size_t i = 0; i <= Watches::MAX_WATCHES; ++i) {
    many.insert(keyQuery(std::to_string(i).c_str()));
  }
  auto tooMany = attemptNow([&] { user.want(many); });
  REQUIRE(!tooMany.ok());
  CHECK(tooMany.message() == "templates ask for more than 2000 things at once");
  CHECK(bench.source.begun == 1);
}

}  // namespace
}  // namespace orch::integration::templates
