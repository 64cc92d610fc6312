// Members of etcd that end or fall silent, and what they ask of whoever comes to them.
#include <catch2/catch.hpp>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "etcd/client.h"
#include "etcd/request.h"
#include "http/testing/certificates.h"
#include "test-backend.h"

namespace orch::discovery::etcd {
namespace {

TEST_CASE("etcd: a member that ends, or is silent, is left for another one", "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-members", 3);
  // It may be electing a leader.
  auto put = [&](const std::string& address, size_t member) {
    orch::etcd::Client client(*loop.env, {http::Endpoint::parse(lab.etcd.url(member))}, {},
                              60 * kj::SECONDS);
    orch::etcd::TxnRequest txn;
    txn.thenPut(lab.nodes + address, address);
    client.demand("/v3/kv/txn", txn.text()).promise().wait(loop.scope);
  };
  put("10.0.0.1:1", 0);
  lab.options.timeoutMs = 30'000;
  Backend plugin(loop, lab.options);
  auto watching = plugin.watch(seen);
  loop.until("the list", [&] { return shows(seen, {"10.0.0.1:1"}); });
  lab.etcd.kill(0);
  put("10.0.0.2:1", 1);
  loop.until("the second one", [&] { return seen.lists.back().size() == 2; });
  CHECK(plugin.put("10.0.0.3:1") == "");
  loop.until("the third one", [&] { return seen.lists.back().size() == 3; });
  lab.etcd.start(0);
  put("10.0.0.1:1", 0);  // it is one of most again
  // Whichever it watches: its connection stands, and says nothing.
  lab.etcd.signal(SIGSTOP, 1);
  put("10.0.0.4:1", 2);
  loop.until("the fourth one", [&] { return seen.lists.back().size() == 4; });
  lab.etcd.signal(SIGCONT, 1);
  put("10.0.0.1:1", 1);
  lab.etcd.signal(SIGSTOP, 2);
  put("10.0.0.5:1", 1);
  loop.until("the fifth one", [&] { return seen.lists.back().size() == 5; });
  lab.etcd.signal(SIGCONT, 2);
  CHECK(seen.failures == Addresses{});
}

TEST_CASE("etcd: one with users is used by who may, and says so to others", "[discovery][etcd]") {
  conformance::SeenByWatch seen, sees, wary;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-users");
  auto ctl = [&](std::vector<std::string> words) { lab.etcd.ctl(std::move(words)); };
  ctl({"user", "add", "root:top"});
  ctl({"user", "grant-role", "root", "root"});
  ctl({"role", "add", "hosts"});
  ctl({"role", "grant-permission", "--prefix=true", "hosts", "readwrite", "lab/"});
  ctl({"user", "add", "orch:se\"cret"});
  ctl({"user", "grant-role", "orch", "hosts"});
  ctl({"user", "add", "guest:cret"});
  ctl({"auth", "enable"});
  Backend blind(loop, lab.options);
  auto first = blind.watch(seen);
  loop.until("the failure", [&] { return !seen.failures.empty(); });
  const std::string words = "'user' and 'passwordFile' have to be those of who may read and write";
  CHECK(seen.failures[0].find("user name is empty; " + words) != std::string::npos);
  testing::TestFolder folder("discovery-etcd-password");
  std::filesystem::create_directories(folder.path().cStr());
  lab.options.passwordFile = folder.sub("password").cStr();
  std::ofstream(lab.options.passwordFile) << "se\"cret\n";
  lab.options.user = "orch";
  Backend plugin(loop, lab.options);
  auto second = plugin.watch(sees);
  CHECK(plugin.put("10.0.0.1:1") == "");
  loop.until("the entry", [&] { return shows(sees, {"10.0.0.1:1"}); });
  CHECK(plugin.put("10.0.0.2:1") == "");
  loop.until("the watch", [&] { return sees.lists.back().size() == 2; });
  // Tokens end with the process that gave them.
  lab.etcd.kill();
  lab.etcd.start();
  CHECK(plugin.put("10.0.0.3:1") == "");
  loop.until("one more", [&] { return sees.lists.back().size() == 3; });
  CHECK(sees.failures == Addresses{});
  lab.options.user = "guest";
  Backend wrong(loop, lab.options);
  CHECK(wrong.put("10.0.0.4:1").find("see that 'user' is one of its users") != std::string::npos);
  std::ofstream(lab.options.passwordFile) << "cret\n";
  Backend guest(loop, lab.options);
  auto third = guest.watch(wary);
  loop.until("the refusal", [&] { return !wary.failures.empty(); });
  CHECK(wary.failures[0].find("permission denied; " + words) != std::string::npos);
  CHECK(guest.put("10.0.0.4:1").find("permission denied; " + words) != std::string::npos);
}

TEST_CASE("etcd: over TLS it trusts whom it was told to", "[discovery][etcd]") {
  conformance::SeenByWatch seen, wary;  // sinks are let go of by the last turn of the loop
  Loop loop;
  http::Certificates made(*loop.env, loop.scope, "discovery-etcd-tls");
  made.sign("server", "IP:127.0.0.1");
  TestEtcd etcd(*loop.env, loop.scope, "discovery-etcd-tls-server", 1,
                {"--cert-file=" + made.file("server.pem"), "--key-file=" + made.file("server.key")},
                "https");
  Options options;
  options.uri = uriOf(etcd, "lab");
  options.caFile = made.file("ca.pem");
  Backend plugin(loop, options);
  auto watching = plugin.watch(seen);
  loop.until("the entry", [&] { return plugin.put("10.0.0.1:1").empty(); });
  loop.until("the list", [&] { return shows(seen, {"10.0.0.1:1"}); });
  options.caFile = made.file("stranger.pem");
  Backend stranger(loop, options);
  auto second = stranger.watch(wary);
  loop.until("the failure", [&] { return !wary.failures.empty(); });
  CHECK(wary.failures[0].find("its certificate is not signed by who is in") != std::string::npos);
}

}  // namespace
}  // namespace orch::discovery::etcd
