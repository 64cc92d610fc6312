// What is wrong with an etcd, or with how it is reached, is said in one line that says what to do.
#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "http/testing/certificates.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::etcd {
namespace {

using conformance::Answer;
using conformance::Bench;
using conformance::Change;

bool contains(const std::string& text, const std::string& words) {
  UNSCOPED_INFO(text);
  return text.find(words) != std::string::npos;
}

std::vector<std::string> serverArguments(const http::Certificates& made, const std::string& name) {
  return {"--cert-file=" + made.file(name + ".pem"), "--key-file=" + made.file(name + ".key"),
          "--trusted-ca-file=" + made.file("ca.pem"), "--client-cert-auth"};
}

// What a load says; empty: it works. The plugin's time passes no faster than the real one.
std::string loadWith(TestLoop& loop, const TestStore::Options& options) {
  testing::HeldTime time(*loop.env, loop.scope);
  testing::TestFolder folder("etcd-refused");
  TestNode node(time, loop.scope, "etcd-refused", options);
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

TEST_CASE("store.etcd: over TLS it trusts whom it was told to, and says what is wrong",
          "[store][etcd]") {
  TestLoop loop;
  http::Certificates made(*loop.env, loop.scope, "etcd-tls");
  made.sign("server", "IP:127.0.0.1");
  made.sign("client", "DNS:orch");
  TestEtcd etcd(*loop.env, loop.scope, "etcd-tls", 1, serverArguments(made, "server"), "https");
  TestStore::Options good;
  good.endpoints = etcd.urls();
  good.timeoutMs = 60'000;
  good.ca = made.file("ca.pem");
  good.cert = made.file("client.pem");
  good.key = made.file("client.key");
  CHECK(loadWith(loop, good) == "");
  auto several = good;
  several.ca = made.file("several.pem");
  std::ofstream together(several.ca);
  for (auto name : {"stranger.pem", "ca.pem"}) together << std::ifstream(made.file(name)).rdbuf();
  together.close();
  CHECK(loadWith(loop, several) == "");
  auto isolated = good;
  isolated.isolation = testing::Isolation::PROCESS;
  {
    TestNode node(*loop.env, loop.scope, "etcd-tls-isolated", isolated);
    Bench(node).mustCommit("isolated", {Change{"task", "a", 0, "v"}});
  }
  good.timeoutMs = 1500;
  auto start = "etcd at '" + etcd.url() + "' does not answer: cannot connect: ";
  auto bad = good;
  bad.ca = made.file("stranger.pem");
  CHECK(contains(loadWith(loop, bad), start + "its certificate is not signed by who is in 'ca'"));
  bad.ca = made.file("damaged.pem");
  std::ofstream(bad.ca) << std::ifstream(good.ca).rdbuf() << "-----BEGIN CERTIFICATE-----\nMII=\n";
  CHECK(contains(loadWith(loop, bad), "ca: one of the certificates in the file is damaged"));
  bad = good;
  bad.ca = "";
  CHECK(contains(loadWith(loop, bad), "its certificate is not signed by"));
  bad = good;
  bad.cert = bad.key = "";
  CHECK(contains(loadWith(loop, bad), "it refuses the certificate in 'cert', or wants one"));
  bad = good;
  bad.ca = made.file("none.pem");
  CHECK(contains(loadWith(loop, bad), start + "ca: cannot read '" + made.file("none.pem") + "'"));
  bad = good;
  bad.key = made.file("client.csr");
  CHECK(contains(loadWith(loop, bad), start + "key: the file holds no such thing in PEM"));
  bad = good;
  bad.endpoints = {"http" + etcd.url().substr(5)};
  CHECK(contains(loadWith(loop, bad), "'http://127.0.0.1:"));
}

TEST_CASE("store.etcd: a certificate for another host is refused", "[store][etcd]") {
  TestLoop loop;
  http::Certificates made(*loop.env, loop.scope, "etcd-tls");
  made.sign("server", "DNS:elsewhere,IP:127.0.0.2");
  TestEtcd etcd(*loop.env, loop.scope, "etcd-tls-host", 1, serverArguments(made, "server"),
                "https");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  options.timeoutMs = 1500;
  options.ca = made.file("ca.pem");
  options.cert = made.file("server.pem");
  options.key = made.file("server.key");
  CHECK(contains(loadWith(loop, options), "its certificate is for another host"));
}

TEST_CASE("store.etcd: a certificate that has expired is told from one that is not trusted",
          "[store][etcd]") {
  TestLoop loop;
  http::Certificates made(*loop.env, loop.scope, "etcd-expired");
  made.sign("server", "IP:127.0.0.1", -1);
  made.sign("client", "DNS:orch");
  // Its own gateway shows it, and refuses that: only who comes from outside is told why.
  TestEtcd etcd(*loop.env, loop.scope, "etcd-expired", 1, serverArguments(made, "server"), "https");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  options.timeoutMs = 1500;
  options.ca = made.file("ca.pem");
  options.cert = made.file("client.pem");
  options.key = made.file("client.key");
  CHECK(contains(loadWith(loop, options),
                 "its certificate has expired, as this host's clock has it"));
}

TEST_CASE("store.etcd: endpoints where no etcd answers are named", "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-elsewhere");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  CHECK(loadWith(loop, options) == "");
  options.timeoutMs = 1500;
  auto plain = options;
  plain.endpoints = {"https" + etcd.url().substr(4)};
  auto said = loadWith(loop, plain);
  CAPTURE(said);
  CHECK((contains(said, "it does not speak TLS; use http://") ||
         contains(said, "reset by peer; if it does not speak TLS, use http://")));
  etcd.kill();
  CHECK(loadWith(loop, options) ==
        "etcd at '" + etcd.url() +
            "' does not answer: cannot connect: Connection refused; see "
            "that most of its members run, and that 'endpoints' names them");
}

TEST_CASE("store.etcd: an endpoint that takes everything and says nothing is left for another",
          "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-silent");
  kj::AutoCloseFd silent(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  KJ_SYSCALL(bind(silent, reinterpret_cast<sockaddr*>(&address), length));
  KJ_SYSCALL(getsockname(silent, reinterpret_cast<sockaddr*>(&address), &length));
  KJ_SYSCALL(listen(silent, 16));
  TestStore::Options options;
  options.endpoints = {"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)), etcd.url()};
  options.timeoutMs = 2000;
  TestStore::Options first;
  first.endpoints = etcd.urls();
  CHECK(loadWith(loop, first) == "");
  CHECK(loadWith(loop, options) == "");
}

TEST_CASE("store.etcd: a full etcd refuses and says so, and changes nothing", "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-full", 1, {"--quota-backend-bytes=4000000"});
  TestStore::Options options;
  options.endpoints = etcd.urls();
  TestNode node(*loop.env, loop.scope, "etcd-full", options);
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
  CHECK(contains(answer.reason, "etcd at '" + etcd.url() +
                                    "' refuses: etcdserver: mvcc: database space exceeded; compact "
                                    "and defragment it or raise its --quota-backend-bytes"));
  CHECK(contains(answer.reason, "; nothing was changed"));
  auto state = bench.load();
  CHECK(state.objects.size() == committed);
  CHECK(state.revision == last);
  CHECK(bench.find("k0") != 0);
  // As the line says.
  etcd.ctl({"del", "--prefix", node.options.prefix + "object/task k1"});
  etcd.ctl({"compaction", std::to_string(etcd.revision())});
  etcd.ctl({"defrag"});
  etcd.ctl({"alarm", "disarm"});
  bench.mustCommit("again", {Change{"task", "again", 0, "v"}});
}

TEST_CASE("store.etcd: of an etcd with an alarm it is said what to do", "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-alarms");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  auto alarm = [&](const char* what) {
    http::EndpointClient client(*loop.env, http::Endpoint::parse(etcd.url()), {});
    std::string path = "/v3/maintenance/alarm";
    auto body = std::string("{\"action\":\"ACTIVATE\",\"alarm\":\"") + what + "\"}";
    auto answer = client.ask(kj::HttpMethod::POST, path, body).wait(loop.scope);
    REQUIRE(answer.status == 200);
  };
  CHECK(loadWith(loop, options) == "");  // it is there
  alarm("NOSPACE");
  CHECK(contains(loadWith(loop, options), "database space exceeded; compact and defragment it"));
  etcd.ctl({"alarm", "disarm"});
  CHECK(loadWith(loop, options) == "");
  alarm("CORRUPT");
  CHECK(contains(loadWith(loop, options), "refuses: etcdserver: corrupt cluster; "));
}

TEST_CASE("store.etcd: an etcd that wants to know its users is told apart", "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-users");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  CHECK(loadWith(loop, options) == "");
  etcd.ctl({"user", "add", "root:secret"});
  etcd.ctl({"user", "grant-role", "root", "root"});
  etcd.ctl({"auth", "enable"});
  CHECK(contains(loadWith(loop, options),
                 "user name is empty; orch knows no users of etcd's: it needs one without"));
}

TEST_CASE("store.etcd: the largest batch fits into what etcd takes, and a larger one is refused",
          "[store][etcd]") {
  TestLoop loop;
  TestEtcd etcd(*loop.env, loop.scope, "etcd-largest");
  TestStore::Options options;
  options.endpoints = etcd.urls();
  TestNode node(*loop.env, loop.scope, "etcd-largest", options);
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
  CHECK(contains(large.reason, "; lower 'maxBytes', or raise its --max-request-bytes"));
  auto medium = bench.commit("medium", {Change{"task", "large", 0, std::string(1'700'000, 'v')}});
  CHECK(medium.kind == Answer::REFUSED);
  CHECK(contains(medium.reason, "too large; lower 'maxBytes', or raise its --max-request-bytes"));
  changes.clear();
  for (int i = 0; i < 200; ++i) changes.push_back(Change{"task", "m" + std::to_string(i), 0, "v"});
  auto many = bench.commit("many", changes);
  CHECK(many.kind == Answer::REFUSED);
  CHECK(contains(many.reason, "too many operations"));
  CHECK(contains(many.reason, "; lower 'maxOps', or raise its --max-txn-ops"));
  auto spaced = attemptNow([&] { bench.commit("spaced", {Change{"a task", "x", 0, "v"}}); });
  REQUIRE(!spaced.ok());
  CHECK(contains(spaced.message().cStr(), "has the kind 'a task'; one without spaces"));
}

}  // namespace
}  // namespace orch::store::etcd
