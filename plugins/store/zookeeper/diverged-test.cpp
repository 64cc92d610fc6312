// A server whose copy is not what was committed, as ZooKeeper itself leaves one behind at times, is
// not believed.
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "orch/attempt.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

using conformance::Bench;
using conformance::Change;
using conformance::Seen;

constexpr const char* DIFFERS = "warn store.server-differs, asking another one";

bool hasLeft(TestNode& node) {
  auto& lines = node.running().logLines();
  return std::count(lines.begin(), lines.end(), DIFFERS) > 0;
}

TEST_CASE("store.zookeeper: a server that lacks a change is left for another one",
          "[store][zookeeper]") {
  TestLoop loop;
  TestZookeeper good(*loop.env, loop.scope, "zk-good"), bad(*loop.env, loop.scope, "zk-bad");
  auto nodeAt = [&](kj::StringPtr name, std::vector<std::string> endpoints) {
    return TestNode(*loop.env, loop.scope, name, optionsFor<Backend>(std::move(endpoints)));
  };
  auto node = nodeAt("zk-lacks", good.endpoints());
  Bench bench(node);
  Layout layout(node.options.prefix);
  bench.mustCommit("b1", {Change{"task", "a", 0, "v"}, Change{"task", "b", 0, "v"}});
  std::string removed;
  {
    TestClient client(*loop.env, loop.scope, good.endpoints());
    removed = client.get(layout.object("task:a"));
  }
  uint64_t second = bench.mustCommit("b2", {Change{"task", "a", 1, "", true}});
  uint64_t third = bench.mustCommit("b3", {Change{"task", "c", 0, "v"}});
  auto right = bench.load();
  CHECK(right.objects.size() == 2);
  node.close();
  good.kill();
  bad.kill();
  bad.takeFiles(good);
  good.start();
  bad.start();
  {
    // As if it had never had the second one.
    TestClient client(*loop.env, loop.scope, bad.endpoints());
    client.client.connected().wait(loop.scope);
    auto record = BatchRecord{second, true, "b2"}.name();
    auto without = Multi()
                       .create(layout.object("task:a"), removed)
                       .remove(layout.change(second))
                       .remove(layout.batches() + "/" + record);
    CHECK(client.client.multi(without).wait(loop.scope).code == Code::OK);
  }

  auto one = nodeAt("zk-lacks-bad", bad.endpoints());
  Bench wrong(one);
  REQUIRE(one.options.prefix == node.options.prefix);
  auto loading = attemptNow([&] { wrong.load(); });
  REQUIRE(!loading.ok());
  std::string said = loading.message().cStr();
  CAPTURE(said);
  CHECK(said.find("has objects that are not those of revision " + std::to_string(third)) !=
        said.npos);
  CHECK(said.find("stop it, empty its dataDir but for 'myid'") != said.npos);
  CHECK(hasLeft(one));
  one.options.timeoutMs = 1000;
  wrong.reopen();
  CHECK_THROWS(wrong.find("b2"));
  auto committing = attemptNow([&] { return wrong.commit("b4", {Change{"task", "a", 1, "w"}}); });
  CHECK((!committing.ok() || committing.value().kind != conformance::Answer::COMMITTED));

  // Whichever of the two is asked first.
  auto both = nodeAt("zk-lacks-both", {bad.endpoint(), good.endpoint()});
  Bench reader(both);
  bool left = false;
  for (int round = 0; round < 20 && !left; ++round) {
    reader.reopen();
    CHECK((reader.load() == right));
    CHECK(reader.find("b2") == second);
    left = hasLeft(both);
  }
  CHECK(left);
  uint64_t last = reader.mustCommit("b5", {Change{"task", "b", 1, "w"}});
  CHECK(reader.load().revision == last);
  CHECK(reader.load().objects.size() == 2);
}

TEST_CASE("store.zookeeper: a follower that was told of other changes begins anew",
          "[store][zookeeper]") {
  OneNode<Backend> all("told");
  Bench bench(all.node);
  Layout layout(all.node.options.prefix);
  uint64_t first = bench.mustCommit("b1", {Change{"task", "a", 0, "v"}});
  Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, first);
  // As if another batch had been the first one.
  TestClient client(*all.loop.env, all.loop.scope, all.servers.endpoints());
  auto head = Head::read(client.get(layout.head()));
  REQUIRE((head && head->sum && *head->sum != 0));
  head->sum = *head->sum + 1;
  client.put(layout.head(), head->text());
  all.until("the follower to begin anew", [&] { return !seen.resyncs.empty(); });
  CHECK(seen.resyncs == std::vector<uint64_t>{first});
  all.until("the server to be left", [&] { return hasLeft(all.node); });
  auto loading = attemptNow([&] { bench.load(); });
  CHECK(!loading.ok());
  *head->sum -= 1;
  client.put(layout.head(), head->text());
  CHECK(bench.load().objects.size() == 1);
}

}  // namespace
}  // namespace orch::store::zookeeper
