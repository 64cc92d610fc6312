// What is wrong with an etcd, or with how it is reached, is said in one line that says what to do.
#include <catch2/catch.hpp>

#include "lib/testing/refusal-cases.h"
#include "orch/attempt.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::etcd {
namespace {

using conformance::Answer;
using conformance::Bench;
using conformance::Change;

TEST_CASE("store.etcd: over TLS it trusts whom it was told to, and says what is wrong",
          "[store][etcd]") {
  trustsWhomItWasToldTo<Backend>();
}

TEST_CASE("store.etcd: a certificate for another host is refused", "[store][etcd]") {
  SecureServer<Backend> all("tls-host", "DNS:elsewhere,IP:127.0.0.2");
  all.good.timeoutMs = 1500;
  CHECK(says(all.refusal(all.good), "its certificate is for another host"));
}

TEST_CASE("store.etcd: a certificate that has expired is told from one that is not trusted",
          "[store][etcd]") {
  // Its own gateway shows it, and refuses that: only who comes from outside is told why.
  SecureServer<Backend> all("expired", "IP:127.0.0.1", -1);
  all.good.timeoutMs = 1500;
  CHECK(says(all.refusal(all.good), "its certificate has expired, as this host's clock has it"));
}

TEST_CASE("store.etcd: endpoints where no etcd answers are named", "[store][etcd]") {
  endpointsOfNobodyAreNamed<Backend>();
}

TEST_CASE("store.etcd: an endpoint that takes everything and says nothing is left for another",
          "[store][etcd]") {
  theSilentIsLeftForAnother<Backend>();
}

TEST_CASE("store.etcd: a full etcd refuses and says so, and changes nothing", "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-full", 1, {"--quota-backend-bytes=4000000"});
  TestNode node(*loop.env, loop.scope, "etcd-full", optionsFor<Backend>(etcd.urls()));
  Bench bench(node);
  size_t committed = 0;
  Answer answer{Answer::COMMITTED};
  uint64_t last = 0;
  while (answer.kind == Answer::COMMITTED && committed < 100) {
    last = answer.revision;
    auto key = "k" + std::to_string(committed++);
    answer = bench.commit(key, {Change{"task", key, 0, std::string(200'000, 'v')}});
  }
  REQUIRE(answer.kind == Answer::REFUSED);
  --committed;
  CHECK(answer.conflicts.empty());
  CHECK(answer.epoch == 0);
  CHECK(says(answer.reason, "etcd at '" + etcd.url() +
                                "' refuses: etcdserver: mvcc: database space exceeded; compact "
                                "and defragment it or raise its --quota-backend-bytes"));
  CHECK(says(answer.reason, "; nothing was changed"));
  auto state = bench.load();
  CHECK(state.objects.size() == committed);
  CHECK(state.revision == last);
  CHECK(bench.find("k0") != 0);
  // As the line says.
  etcd.ctl({"del", "--prefix", node.options.prefix + "object/task k1"});
  etcd.ctl({"compaction", std::to_string(etcd.revision())});
  etcd.ctl({"defrag"});
  etcd.ctl({"alarm", "disarm"});
  bench.mustCommit("again", {newObject("again")});
}

TEST_CASE("store.etcd: of an etcd with an alarm it is said what to do", "[store][etcd]") {
  OneNode<Backend> all("alarms");
  auto& etcd = all.servers;
  auto refusal = [&] { return refusalOf<Backend>(all.loop, all.node.options); };
  auto alarm = [&](const char* what) {
    http::EndpointClient client(*all.loop.env, http::Endpoint::parse(etcd.url()), {});
    std::string path = "/v3/maintenance/alarm";
    auto body = std::string("{\"action\":\"ACTIVATE\",\"alarm\":\"") + what + "\"}";
    auto answer = client.ask(kj::HttpMethod::POST, path, body).wait(all.loop.scope);
    REQUIRE(answer.status == 200);
  };
  CHECK(refusal() == "");  // it is there
  alarm("NOSPACE");
  CHECK(says(refusal(), "database space exceeded; compact and defragment it"));
  etcd.ctl({"alarm", "disarm"});
  CHECK(refusal() == "");
  alarm("CORRUPT");
  CHECK(says(refusal(), "refuses: etcdserver: corrupt cluster; "));
}

TEST_CASE("store.etcd: an etcd that wants to know its users is told apart", "[store][etcd]") {
  OneNode<Backend> all("users");
  auto& etcd = all.servers;
  auto refusal = [&] { return refusalOf<Backend>(all.loop, all.node.options); };
  CHECK(refusal() == "");
  etcd.ctl({"user", "add", "root:secret"});
  etcd.ctl({"user", "grant-role", "root", "root"});
  etcd.ctl({"auth", "enable"});
  CHECK(says(refusal(), "user name is empty; orch knows no users of etcd's: it needs one without"));
}

TEST_CASE("store.etcd: the largest batch fits into what etcd takes, and a larger one is refused",
          "[store][etcd]") {
  OneNode<Backend> all("largest");
  auto& node = all.node;
  Bench bench(node);
  node.options.prefix = "/" + std::string(126, 'p') + "/";
  bench.reopen();
  std::vector<Change> changes;
  uint64_t left = bench.maxBytes - uint64_t{bench.maxOps} * (64 + 512);
  for (uint32_t i = 0; i < bench.maxOps; ++i) {
    auto number = std::to_string(1000 + i);
    changes.push_back(Change{std::string(64, 'k'), std::string(508, 'n') + number, 0,
                             std::string(i == 0 ? left : 0, 'v')});
  }
  bench.mustCommit(std::string(128, 'b'), changes);
  CHECK(bench.load().objects.size() == bench.maxOps);

  node.options.maxOps = 200;
  node.options.maxBytes = 8 << 20;
  bench.reopen();
  auto large = bench.commit("large", {Change{"task", "large", 0, std::string(4 << 20, 'v')}});
  CHECK(large.kind == Answer::REFUSED);
  CHECK(says(large.reason, "; lower 'maxBytes', or raise its --max-request-bytes"));
  auto medium = bench.commit("medium", {Change{"task", "large", 0, std::string(1'700'000, 'v')}});
  CHECK(medium.kind == Answer::REFUSED);
  CHECK(says(medium.reason, "too large; lower 'maxBytes', or raise its --max-request-bytes"));
  changes.clear();
  for (int i = 0; i < 200; ++i) changes.push_back(Change{"task", "m" + std::to_string(i), 0, "v"});
  auto many = bench.commit("many", changes);
  CHECK(many.kind == Answer::REFUSED);
  CHECK(says(many.reason, "too many operations"));
  CHECK(says(many.reason, "; lower 'maxOps', or raise its --max-txn-ops"));
  auto spaced = attemptNow([&] { bench.commit("spaced", {Change{"a task", "x", 0, "v"}}); });
  REQUIRE(!spaced.ok());
  CHECK(says(spaced.message().cStr(), "has the kind 'a task'; one without spaces"));
}

}  // namespace
}  // namespace orch::store::etcd
