// What is wrong with a consul, or with how it is reached, is said in one line that says what to do.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include <fstream>

#include "lib/testing/refusal-cases.h"
#include "orch/attempt.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

using conformance::Answer;
using conformance::Bench;
using conformance::Change;

TEST_CASE("store.consul: over TLS it trusts whom it was told to, and says what is wrong",
          "[store][consul]") {
  trustsWhomItWasToldTo<Backend>();
}

class NoObjects final : public schema::ObjectSink::Server {
 public:
  kj::Promise<void> objects(ObjectsContext) override { KJ_FAIL_REQUIRE("there are objects"); }
};

TEST_CASE("store.consul: with ACLs it needs a token that may write, and says so",
          "[store][consul]") {
  TestLoop loop;
  TestConsul consul(*loop.env, loop.scope, "consul-acl", 1, TestConsul::aclHcl());
  testing::TestFolder folder("consul-token");
  auto fileWith = [&](kj::StringPtr name, const std::string& token) {
    std::string path = folder.sub(name).cStr();
    std::ofstream(path) << token << "\n";
    return path;
  };
  auto options = optionsFor<Backend>(consul.urls());
  options.tokenFile = fileWith("token", TestConsul::MASTER);
  CHECK(refusalOf<Backend>(loop, options) == "");
  consul.token = TestConsul::MASTER;
  // One that may do what is needed, and nothing else.
  auto made = consul.makeToken("orch", "key_prefix \"orch-test/\" { policy = \"write\" }");
  fileWith("token", made.secret);
  TestNode node(*loop.env, loop.scope, "consul-acl", options);
  Bench bench(node);
  uint64_t revision = bench.mustCommit("b1", {newObject("a")});
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, revision);

  auto none = options;
  none.tokenFile = "";
  const std::string denied =
      "refuses: Permission denied; 'tokenFile' has to name a file with a token whose policy lets "
      "it write there";
  CHECK(refusalOf<Backend>(loop, none) == "consul at '" + consul.url() + "' " + denied);
  // One that may read, and nothing else.
  auto reader = consul.makeToken("reading", "key_prefix \"orch-test/\" { policy = \"read\" }");
  auto readOnly = options;
  readOnly.tokenFile = fileWith("reader", reader.secret);
  TestNode reads(*loop.env, loop.scope, "consul-reading", readOnly);
  Bench reading(reads);
  CHECK(says(commitRefusal(reading, "reading"), denied));
  // Keys that one may not read look as if they were not there.
  none.prefix = "orch-test/1/";
  none.isolation = testing::Isolation::KERNEL;
  TestStore blind(*loop.env, loop.scope, folder.path(), none);
  auto request = blind.store.loadRequest();
  request.setSink(kj::heap<NoObjects>());
  auto loading = attempt(request.send()).promise().wait(loop.scope);
  REQUIRE(!loading.ok());
  CHECK(says(loading.message().cStr(), "refuses: Permission denied"));
  auto wrong = options;
  wrong.tokenFile = fileWith("wrong", "22222222-2222-3333-4444-555555555555");
  CHECK(says(refusalOf<Backend>(loop, wrong),
             "refuses: ACL not found; see that 'tokenFile' names a file with a token of this"));
  wrong.tokenFile = folder.sub("missing").cStr();
  wrong.timeoutMs = 1500;
  CHECK(says(refusalOf<Backend>(loop, wrong), "tokenFile: cannot read '" + wrong.tokenFile + "'"));
  // A new token is read when the old one is refused.
  consul.ctl({"acl", "token", "delete", "-id=" + made.accessor});
  fileWith("token", TestConsul::MASTER);
  revision = bench.mustCommit("b2", {newObject("b")});
  bench.await(seen, revision);
  CHECK(seen.revisions.size() == 2);
}

TEST_CASE("store.consul: endpoints where no consul answers are named", "[store][consul]") {
  endpointsOfNobodyAreNamed<Backend>();
}

TEST_CASE("store.consul: an endpoint that takes everything and says nothing is left for another",
          "[store][consul]") {
  theSilentIsLeftForAnother<Backend>();
}

TEST_CASE(
    "store.consul: the largest batch fits into what consul takes, and a larger one is "
    "refused",
    "[store][consul]") {
  OneNode<Backend> all("largest");
  auto& node = all.node;
  Bench bench(node);
  node.options.prefix = std::string(127, 'p') + "/";
  bench.reopen();
  std::vector<Change> changes;
  // Values that are just few enough to be written twice, or all that a batch may have.
  uint64_t most = bench.maxBytes - uint64_t{bench.maxOps} * (64 + 512);
  uint64_t revision = 0;
  for (uint64_t bytes : {uint64_t(ConsulStore::VALUES_IN_CHANGE), most}) {
    changes.clear();
    for (uint32_t i = 0; i < bench.maxOps; ++i) {
      auto number = std::to_string(1000 + i);
      changes.push_back(Change{std::string(64, 'k'), std::string(508, '"') + number, revision,
                               std::string(i == 0 ? bytes : 0, 'v')});
    }
    revision = bench.mustCommit(std::string(127, 'b') + std::to_string(revision % 10), changes);
  }
  CHECK(bench.load().objects.size() == bench.maxOps);
  // All of them deleted at once.
  for (auto& change : changes) {
    change.expected = revision;
    change.remove = true;
  }
  bench.mustCommit("gone", changes);
  CHECK(bench.load().objects.empty());

  node.options.maxBytes = 8 << 20;
  bench.reopen();
  auto large = bench.commit("large", {Change{"task", "large", 0, std::string(500'000, 'v')}});
  CHECK(large.kind == Answer::REFUSED);
  CHECK(says(large.reason, "; lower 'maxBytes', or raise its limits.txn_max_req_len"));
  auto named = attemptNow([&] { bench.commit("named", {Change{"a task", "x", 0, "v"}}); });
  REQUIRE(!named.ok());
  CHECK(says(named.message().cStr(), "has the kind 'a task'; one of UTF-8 without spaces and"));
  auto coded = attemptNow([&] { bench.commit("coded", {Change{"task", "x\xff", 0, "v"}}); });
  REQUIRE(!coded.ok());
  CHECK(says(coded.message().cStr(), "; one of UTF-8 without control characters"));
}

}  // namespace
}  // namespace orch::store::consul
