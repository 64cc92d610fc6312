// What is wrong with a ZooKeeper, or with how it is reached, is said in one line that says what to
// do.
#include <catch2/catch.hpp>

#include <fstream>

#include "lib/testing/refusals.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/sockets.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

using conformance::Answer;
using conformance::Bench;
using conformance::Change;

TEST_CASE("store.zookeeper: servers that do not answer are named", "[store][zookeeper]") {
  OneNode<Backend> all("nobody");
  auto& loop = all.loop;
  auto& servers = all.servers;
  TestStore::Options options;
  options.endpoints = {"127.0.0.1:" + std::to_string(testing::freePort()), servers.endpoint()};
  CHECK(refusalOf<Backend>(loop, options) == "");
  servers.kill();
  options.endpoints = servers.endpoints();
  options.timeoutMs = 500;
  CHECK(refusalOf<Backend>(loop, options) == "ZooKeeper at '" + servers.endpoint() +
                                                 "' does not answer: " + servers.endpoint() +
                                                 ": Connection refused" + Backend::NO_QUORUM);
  // Whoever never asked for the change says that nothing came of it.
  testing::HeldTime time(*loop.env, loop.scope);
  TestNode node(time, loop.scope, "zk-nobody-commit", options);
  auto request = node.reopened().commitRequest();
  auto ops = request.initBatch().initOps(1);
  request.getBatch().setId("b");
  ops[0].setKind("task");
  ops[0].setKey("a");
  ops[0].setPut(nullptr);
  auto pending = request.send();
  CHECK(!pending.poll(loop.scope));
  time.advance(500 * kj::MILLISECONDS);
  auto result = pending.wait(loop.scope);
  REQUIRE(result.getResult().isRefused());
  kj::StringPtr reason = result.getResult().getRefused().getReason();
  CHECK(reason.endsWith("; nothing was changed"));
}

TEST_CASE("store.zookeeper: with a user the state is his alone", "[store][zookeeper]") {
  TestLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-user");
  testing::TestFolder folder("zk-user-files");
  auto fileWith = [&](kj::StringPtr name, const char* text) {
    std::string path = folder.sub(name).cStr();
    std::ofstream(path) << text << "\n";
    return path;
  };
  auto options = optionsFor<Backend>(servers.endpoints());
  options.user = "orch";
  options.passwordFile = fileWith("password", "secret");
  for (auto isolation : {testing::Isolation::KERNEL, testing::Isolation::PROCESS}) {
    options.isolation = isolation;
    CHECK(refusalOf<Backend>(loop, options) == "");
  }
  options.isolation = testing::Isolation::KERNEL;
  TestNode node(*loop.env, loop.scope, "zk-user", options);
  Bench bench(node);
  bench.mustCommit("b1", {newObject("a")});
  TestClient stranger(*loop.env, loop.scope, servers.endpoints());
  auto refusal = attemptNow([&] { stranger.get(Layout(node.options.prefix).object("task:a")); });
  CHECK(!refusal.ok());
  auto words = std::string(
      "' refuses: not authenticated; 'user' and 'passwordFile' have to be those of who made what "
      "is there");
  auto bad = options;
  bad.user = bad.passwordFile = "";
  CHECK(says(refusalOf<Backend>(loop, bad), words));
  bad = options;
  bad.passwordFile = fileWith("guessed", "guessed");
  CHECK(says(refusalOf<Backend>(loop, bad), words));
  bad.passwordFile = folder.sub("none").cStr();
  CHECK(
      says(refusalOf<Backend>(loop, bad), "passwordFile: cannot read '" + bad.passwordFile + "'"));
  bad.passwordFile = fileWith("empty", "");
  CHECK(says(refusalOf<Backend>(loop, bad), "passwordFile: the first line of '"));
}

TEST_CASE(
    "store.zookeeper: the largest batch fits into what servers take, and a larger one does not",
    "[store][zookeeper]") {
  OneNode<Backend> all("largest");
  auto& node = all.node;
  Bench bench(node);
  node.options.prefix = "/" + std::string(127, 'p');
  bench.reopen();
  std::vector<Change> changes;
  // Many of a size that fits into the record, one that does not, and names that grow threefold.
  uint64_t left = bench.maxBytes - uint64_t{bench.maxOps} * (64 + 512);
  uint64_t each = MAX_RECORDED_BYTES / (bench.maxOps - 1);
  left -= each * (bench.maxOps - 1);
  for (uint32_t i = 0; i < bench.maxOps; ++i) {
    auto number = std::to_string(1000 + i);
    changes.push_back(Change{std::string(64, ' '), std::string(508, '/') + number, 0,
                             std::string(i + 1 < bench.maxOps ? each : left, 'v')});
  }
  uint64_t revision = bench.mustCommit(std::string(128, '/'), changes);
  auto state = bench.load();
  CHECK((state.objects.size() == bench.maxOps && state.revision == revision));
  CHECK(bench.find(std::string(128, '/')) == revision);
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, revision);
  REQUIRE(seen.changes.size() == 1);
  CHECK(seen.changes[0].back().value.size() == left);

  node.options.maxBytes = 8 << 20;
  node.options.timeoutMs = 1000;
  bench.reopen();
  // A server breaks off the connection without a word, whenever it is asked.
  auto large = bench.commit("large", {Change{"task", "large", 0, std::string(2 << 20, 'v')}});
  CHECK(large.kind == Answer::UNKNOWN);
  CHECK(says(large.reason,
             "bytes at once: lower 'maxBytes' and 'maxOps', or raise the "
             "servers' jute.maxbuffer"));
  CHECK(bench.find("large") == 0);
  bench.mustCommit("again", {newObject("again")});
}

TEST_CASE("store.zookeeper: what is left of a removed state is in the way of a new one",
          "[store][zookeeper]") {
  TestLoop loop;
  TestZookeeper servers(*loop.env, loop.scope, "zk-remains");
  TestClient other(*loop.env, loop.scope, servers.endpoints());
  TestStore::Options options;
  options.endpoints = servers.endpoints();
  options.prefix = "/deep/down/here";
  CHECK(refusalOf<Backend>(loop, options) == "");
  other.remove("/deep/down/here/state");
  CHECK(says(refusalOf<Backend>(loop, options),
             "under '/deep/down/here' is damaged: keep a copy of a server's dataDir, then "
             "restore a backup, or give this one up with zkCli.sh: delete "
             "/deep/down/here/head"));
  other.removeAll("/deep/down/here");
  CHECK(refusalOf<Backend>(loop, options) == "");
}

}  // namespace
}  // namespace orch::store::zookeeper
