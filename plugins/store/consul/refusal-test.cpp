// What is wrong with a consul, or with how it is reached, is said in one line that says what to do.
#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>

#include "http/testing/certificates.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/held-time.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

using conformance::Answer;
using conformance::Bench;
using conformance::Change;

bool contains(const std::string& text, const std::string& words) {
  UNSCOPED_INFO(text);
  return text.find(words) != std::string::npos;
}

std::string hclOf(const http::Certificates& made, const std::string& name) {
  return "cert_file = \"" + made.file(name + ".pem") + "\" key_file = \"" +
         made.file(name + ".key") + "\" ca_file = \"" + made.file("ca.pem") +
         "\" verify_incoming_https = true";
}

// What a load says; empty: it works. The plugin's time passes no faster than the real one.
std::string loadWith(TestLoop& loop, const TestStore::Options& options) {
  testing::HeldTime time(*loop.env, loop.scope);
  testing::TestFolder folder("consul-refused");
  TestNode node(time, loop.scope, "consul-refused", options);
  auto store = node.fresh();
  auto request = store.findRequest();
  request.setBatchId("b");
  auto asked = attempt(request.send()).promise();
  testing::until(*loop.env, loop.scope, "an answer or the deadline", [&] {
    time.advance(1 * kj::MILLISECONDS);
    return asked.poll(loop.scope);
  });
  auto outcome = asked.wait(loop.scope);
  return outcome.ok() ? "" : outcome.message().cStr();
}

TEST_CASE("store.consul: over TLS it trusts whom it was told to, and says what is wrong",
          "[store][consul]") {
  TestLoop loop;
  http::Certificates made(*loop.env, loop.scope, "consul-tls");
  made.sign("server", "IP:127.0.0.1");
  made.sign("client", "DNS:orch");
  TestConsul consul(*loop.env, loop.scope, "consul-tls", 1, hclOf(made, "server"), true);
  TestStore::Options good;
  good.endpoints = consul.urls();
  good.timeoutMs = 60'000;
  good.ca = made.file("ca.pem");
  good.cert = made.file("client.pem");
  good.key = made.file("client.key");
  CHECK(loadWith(loop, good) == "");
  auto isolated = good;
  isolated.isolation = testing::Isolation::PROCESS;
  {
    TestNode node(*loop.env, loop.scope, "consul-tls-isolated", isolated);
    Bench(node).mustCommit("isolated", {Change{"task", "a", 0, "v"}});
  }
  good.timeoutMs = 1500;
  auto start = "consul at '" + consul.url() + "' does not answer: cannot connect: ";
  auto bad = good;
  bad.ca = made.file("stranger.pem");
  CHECK(contains(loadWith(loop, bad), start + "its certificate is not signed by who is in 'ca'"));
  bad = good;
  bad.cert = bad.key = "";
  CHECK(contains(loadWith(loop, bad), "it refuses the certificate in 'cert', or wants one"));
  bad = good;
  bad.ca = made.file("none.pem");
  CHECK(contains(loadWith(loop, bad), start + "ca: cannot read '" + made.file("none.pem") + "'"));
  bad = good;
  bad.endpoints = {"http" + consul.url().substr(5)};
  CHECK(contains(loadWith(loop, bad), "'http://127.0.0.1:"));
}

class NoObjects final : public schema::ObjectSink::Server {
 public:
  kj::Promise<void> objects(ObjectsContext) override { KJ_FAIL_REQUIRE("there are objects"); }
};

constexpr const char* MASTER = "11111111-2222-3333-4444-555555555555";

TEST_CASE("store.consul: with ACLs it needs a token that may write, and says so",
          "[store][consul]") {
  TestLoop loop;
  TestConsul consul(*loop.env, loop.scope, "consul-acl", 1,
                    std::string("acl { enabled = true default_policy = \"deny\" tokens { master = "
                                "\"") +
                        MASTER + "\" } }");
  testing::TestFolder folder("consul-token");
  auto file = std::string(folder.sub("token").cStr());
  auto keep = [&](const std::string& token) { std::ofstream(file) << token << "\n"; };
  TestStore::Options options;
  options.endpoints = consul.urls();
  options.tokenFile = file;
  options.timeoutMs = 60'000;
  keep(MASTER);
  CHECK(loadWith(loop, options) == "");
  consul.token = MASTER;
  // One that may do what is needed, and nothing else.
  auto rules = std::string(folder.sub("rules.hcl").cStr());
  std::ofstream(rules) << "key_prefix \"orch-test/\" { policy = \"write\" }";
  consul.ctl({"acl", "policy", "create", "-name=orch", "-rules=@" + rules});
  auto made = consul.ctl({"acl", "token", "create", "-policy-name=orch"});
  auto at = made.find("SecretID:");
  REQUIRE(at != std::string::npos);
  auto secret = made.substr(made.find_first_not_of(' ', at + 9), 36);
  keep(secret);
  TestNode node(*loop.env, loop.scope, "consul-acl", options);
  Bench bench(node);
  uint64_t revision = bench.mustCommit("b1", {Change{"task", "a", 0, "v"}});
  conformance::Seen seen;
  auto following = bench.follow(0, seen);
  bench.await(seen, revision);

  auto none = options;
  none.tokenFile = "";
  CHECK(loadWith(loop, none) ==
        "consul at '" + consul.url() +
            "' refuses: Permission denied; 'tokenFile' has to name a file with a token whose "
            "policy lets it write there");
  // One that may read, and nothing else.
  auto reading = std::string(folder.sub("reading.hcl").cStr());
  std::ofstream(reading) << "key_prefix \"orch-test/\" { policy = \"read\" }";
  consul.ctl({"acl", "policy", "create", "-name=reading", "-rules=@" + reading});
  auto reader = consul.ctl({"acl", "token", "create", "-policy-name=reading"});
  auto readOnly = options;
  readOnly.tokenFile = folder.sub("reader").cStr();
  std::ofstream(readOnly.tokenFile)
      << reader.substr(reader.find_first_not_of(' ', reader.find("SecretID:") + 9), 36);
  TestNode reads(*loop.env, loop.scope, "consul-reading", readOnly);
  auto tried = attemptNow([&] {
    auto answer = Bench(reads).commit("reading", {Change{"task", "r", 0, "v"}});
    if (answer.kind != Answer::COMMITTED) fail(kj::str(answer.reason.c_str()));
  });
  REQUIRE(!tried.ok());
  CHECK(contains(tried.message().cStr(),
                 "refuses: Permission denied; 'tokenFile' has to name a file with a token whose "
                 "policy lets it write there"));
  // Keys that one may not read look as if they were not there.
  none.prefix = "orch-test/1/";
  none.isolation = testing::Isolation::KERNEL;
  TestStore blind(*loop.env, loop.scope, folder.path(), none);
  auto request = blind.store.loadRequest();
  request.setSink(kj::heap<NoObjects>());
  auto loading = attempt(request.send()).promise().wait(loop.scope);
  REQUIRE(!loading.ok());
  CHECK(contains(loading.message().cStr(), "refuses: Permission denied"));
  auto wrong = options;
  wrong.tokenFile = folder.sub("wrong").cStr();
  std::ofstream(wrong.tokenFile) << "22222222-2222-3333-4444-555555555555";
  CHECK(contains(loadWith(loop, wrong),
                 "refuses: ACL not found; see that 'tokenFile' names a file with a token of this"));
  wrong.tokenFile = folder.sub("missing").cStr();
  wrong.timeoutMs = 1500;
  CHECK(contains(loadWith(loop, wrong), "tokenFile: cannot read '" + wrong.tokenFile + "'"));
  // A new token is read when the old one is refused.
  consul.ctl(
      {"acl", "token", "delete",
       "-id=" + made.substr(made.find_first_not_of(' ', made.find("AccessorID:") + 11), 36)});
  keep(MASTER);
  revision = bench.mustCommit("b2", {Change{"task", "b", 0, "v"}});
  bench.await(seen, revision);
  CHECK(seen.revisions.size() == 2);
}

TEST_CASE("store.consul: endpoints where no consul answers are named", "[store][consul]") {
  TestLoop loop;
  TestConsul consul(*loop.env, loop.scope, "consul-elsewhere");
  TestStore::Options options;
  options.endpoints = consul.urls();
  CHECK(loadWith(loop, options) == "");
  options.timeoutMs = 1500;
  auto plain = options;
  plain.endpoints = {"https" + consul.url().substr(4)};
  auto said = loadWith(loop, plain);
  CAPTURE(said);
  CHECK((contains(said, "it does not speak TLS; use http://") ||
         contains(said, "reset by peer; if it does not speak TLS, use http://")));
  consul.kill();
  CHECK(loadWith(loop, options) ==
        "consul at '" + consul.url() +
            "' does not answer: cannot connect: Connection refused; see that it runs, that most of "
            "its servers do, and that this is its address");
}

TEST_CASE("store.consul: an endpoint that takes everything and says nothing is left for another",
          "[store][consul]") {
  TestLoop loop;
  TestConsul consul(*loop.env, loop.scope, "consul-silent");
  kj::AutoCloseFd silent(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  KJ_SYSCALL(bind(silent, reinterpret_cast<sockaddr*>(&address), length));
  KJ_SYSCALL(getsockname(silent, reinterpret_cast<sockaddr*>(&address), &length));
  KJ_SYSCALL(listen(silent, 16));
  TestStore::Options options;
  options.endpoints = {"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)), consul.url()};
  options.timeoutMs = 2000;
  TestStore::Options first;
  first.endpoints = consul.urls();
  CHECK(loadWith(loop, first) == "");
  CHECK(loadWith(loop, options) == "");
}

TEST_CASE(
    "store.consul: the largest batch fits into what consul takes, and a larger one is "
    "refused",
    "[store][consul]") {
  TestLoop loop;
  TestConsul consul(*loop.env, loop.scope, "consul-largest");
  TestStore::Options options;
  options.endpoints = consul.urls();
  TestNode node(*loop.env, loop.scope, "consul-largest", options);
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
  CHECK(contains(large.reason, "; lower 'maxBytes', or raise its limits.txn_max_req_len"));
  auto named = attemptNow([&] { bench.commit("named", {Change{"a task", "x", 0, "v"}}); });
  REQUIRE(!named.ok());
  CHECK(contains(named.message().cStr(), "has the kind 'a task'; one of UTF-8 without spaces and"));
  auto coded = attemptNow([&] { bench.commit("coded", {Change{"task", "x\xff", 0, "v"}}); });
  REQUIRE(!coded.ok());
  CHECK(contains(coded.message().cStr(), "; one of UTF-8 without control characters"));
}

}  // namespace
}  // namespace orch::store::consul
