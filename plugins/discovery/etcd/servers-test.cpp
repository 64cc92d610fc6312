// Members of etcd that end or fall silent, and what they ask of whoever comes to them.
#include <catch2/catch.hpp>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "etcd/client.h"
#include "etcd/request.h"
#include "lib/testing/tls-case.h"
#include "test-lab.h"

namespace orch::discovery::etcd {
namespace {

TEST_CASE("etcd: a member that ends, or is silent, is left for another one", "[discovery][etcd]") {
  conformance::SeenByWatch seen;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-members", 3);
  // It may be electing a leader.
  auto put = [&](const std::string& address, size_t member) {
    orch::etcd::Client client(*loop.env, {http::Endpoint::parse(lab.servers.url(member))}, {},
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
  lab.servers.kill(0);
  put("10.0.0.2:1", 1);
  loop.until("the second one", [&] { return seen.lists.back().size() == 2; });
  CHECK(plugin.put("10.0.0.3:1") == "");
  loop.until("the third one", [&] { return seen.lists.back().size() == 3; });
  lab.servers.start(0);
  put("10.0.0.1:1", 0);  // it is one of most again
  // Whichever it watches: its connection stands, and says nothing.
  lab.servers.signal(SIGSTOP, 1);
  put("10.0.0.4:1", 2);
  loop.until("the fourth one", [&] { return seen.lists.back().size() == 4; });
  lab.servers.signal(SIGCONT, 1);
  put("10.0.0.1:1", 1);
  lab.servers.signal(SIGSTOP, 2);
  put("10.0.0.5:1", 1);
  loop.until("the fifth one", [&] { return seen.lists.back().size() == 5; });
  lab.servers.signal(SIGCONT, 2);
  CHECK(seen.failures == Addresses{});
}

TEST_CASE("etcd: one with users is used by who may, and says so to others", "[discovery][etcd]") {
  conformance::SeenByWatch seen, sees, wary;  // sinks are let go of by the last turn of the loop
  Loop loop;
  Lab lab(loop, "discovery-etcd-users");
  auto ctl = [&](std::vector<std::string> words) { lab.servers.ctl(std::move(words)); };
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
  // Tokens end with the process that gave them, unless the next one reads from the log that they
  // were given: what is in the file of the database it does not read again.
  ctl({"--user=root:top", "defrag"});
  lab.servers.kill();
  lab.servers.start();
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
  trustsWhomItWasToldTo<Plugin>("discovery-etcd-tls");
}

}  // namespace
}  // namespace orch::discovery::etcd
