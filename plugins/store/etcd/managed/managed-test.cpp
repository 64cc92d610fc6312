// Members of an etcd that the plugin runs itself, on addresses of loopback in the place of hosts.
#include <catch2/catch.hpp>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "http/testing/certificates.h"
#include "managed/managed-etcd.h"
#include "managed/test-managed.h"
#include "managed/upkeep.h"

namespace orch::store::etcd {
namespace {

using conformance::Bench;
using conformance::Change;

Change put(const std::string& key, const std::string& value = "v", uint64_t expected = 0) {
  return Change{"task", key, expected, value};
}

TEST_CASE("store.etcd, managed: without a member it says how one comes, at once", "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-none", 1, testing::freePort());
  CHECK_FALSE(host.isPresent());
  CHECK(loadAt(host).find("'orch cluster migrate --to store.etcd'") != std::string::npos);
  // A manager at an address that is none of a host.
  auto request = host.servers().foundRequest();
  request.initHost().setAddress("n1:2377");
  auto refused = attempt(request.send()).wait(loop.scope);
  REQUIRE_FALSE(refused.ok());
  CHECK(std::string(refused.message().cStr()).find("'n1:2377'") != std::string::npos);
  CHECK_FALSE(host.isPresent());
}

TEST_CASE("store.etcd, managed: the first member keeps a state over restarts", "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-first", 1, testing::freePort());
  host.found();
  Bench bench(host);
  auto revision = bench.mustCommit("b1", {put("a")});
  host.found();  // nothing happens
  bench.reopen();
  CHECK(bench.load().revision == revision);
  CHECK(bench.find("b1") == revision);
  bench.mustCommit("b2", {put("b")});
  // Killed, it comes back.
  auto pid = processWith("--data-dir=" + host.file("etcd"));
  REQUIRE(pid > 0);
  REQUIRE(kill(pid, SIGKILL) == 0);
  bench.mustCommit("b3", {put("c")});
  CHECK(bench.load().objects.size() == 3);
}

TEST_CASE("store.etcd, managed: of three members any may go, and nothing is missing",
          "[store][etcd]") {
  ThreeHosts hosts("managed-three");
  hosts.joinAll();
  CHECK(loadAt(hosts.two) == "");
  CHECK(loadAt(hosts.three) == "");
  hosts.one.stop();
  Bench second(hosts.two);
  second.mustCommit("without", {put("without")});
  hosts.one.start();
  CHECK(Bench(hosts.one).load().objects.size() == 2);
  CHECK(Bench(hosts.three).load().objects.size() == 2);
}

TEST_CASE("store.etcd, managed: a member that is not wanted is removed, and leaves nothing",
          "[store][etcd]") {
  ThreeHosts hosts("managed-removed");
  hosts.joinAll();
  hosts.one.tend({&hosts.one, &hosts.two});
  hosts.awaitNothingLeft(hosts.three);
  Bench(hosts.two).mustCommit("later", {put("later")});
  // It may come again.
  hosts.admit(hosts.three);
  hosts.one.tend({&hosts.one, &hosts.two, &hosts.three});
  CHECK(Bench(hosts.three).load().objects.size() == 2);

  // One that was off when it was removed learns it when it comes back.
  hosts.three.stop();
  hosts.one.tend({&hosts.one, &hosts.two});
  hosts.three.start();
  hosts.awaitNothingLeft(hosts.three);
}

TEST_CASE("store.etcd, managed: whoever was deposed changes no members", "[store][etcd]") {
  ThreeHosts hosts("managed-deposed");
  hosts.one.found();
  Bench bench(hosts.one);
  bench.mustCommit("b1", {put("a")});
  REQUIRE(bench.elect("other", 0).wait(hosts.loop.scope).won);
  CHECK(hosts.one.invite(hosts.two).find("another manager's to change") != std::string::npos);
  CHECK_FALSE(hosts.two.isPresent());
}

TEST_CASE("store.etcd, managed: its ports are open to members only", "[store][etcd]") {
  ThreeHosts hosts("managed-strangers");
  auto& loop = hosts.loop;
  hosts.one.found();
  Bench(hosts.one).mustCommit("b1", {put("a")});
  // As a worker's, which the cluster's authority has signed.
  http::Certificates others(*loop.env, loop.scope, "managed-strangers");
  others.sign("worker", "IP:127.0.0.1");
  // Whoever is refused is so again and again, until his time is over.
  auto says = [&](uint16_t port, const http::TlsFiles& files,
                  kj::Duration limit = 4 * kj::SECONDS) {
    auto url = "https://127.0.0.1:" + std::to_string(port);
    orch::etcd::Client client(*loop.env, {http::Endpoint::parse(url)}, files, limit);
    auto reply = client.ask("/v3/cluster/member/list", "{}").wait(loop.scope);
    return reply.kind == orch::etcd::Reply::Kind::LOST ? reply.reason : std::string();
  };
  auto own = hosts.one.file("tls/");
  for (auto port : {hosts.port, hosts.one.options.clientPort}) {
    INFO(port);
    auto strange =
        says(port, {own + "ca.pem", others.file("worker.pem"), others.file("worker.key")});
    CHECK(strange.find("it refuses the certificate") != std::string::npos);
    auto nobody = says(port, {own + "ca.pem", "", ""});
    CHECK(nobody.find("it refuses the certificate") != std::string::npos);
  }
  CHECK(says(hosts.one.options.clientPort, {own + "ca.pem", own + "member.pem", own + "member.key"},
             60 * kj::SECONDS) == "");
  auto mode = std::filesystem::status(own).permissions();
  CHECK((mode & std::filesystem::perms::all) == std::filesystem::perms::owner_all);
}

TEST_CASE("store.etcd, managed: full of what was overwritten, it makes itself space again",
          "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-full", 1, testing::freePort());
  host.options.quotaBytes = 64 << 20;
  host.stop();
  host.start();
  host.found();
  Bench bench(host);
  // Past the quota one is refused; what was overwritten is compacted away then.
  uint64_t revision = 0;
  auto answer = conformance::Answer{conformance::Answer::COMMITTED};
  int number = 0;
  while (answer.kind == conformance::Answer::COMMITTED && number < 150) {
    auto value = std::string(1'000'000, static_cast<char>('a' + number % 20));
    answer = bench.commit("b" + std::to_string(number++), {put("large", value, revision)});
    if (answer.kind == conformance::Answer::COMMITTED) revision = answer.revision;
  }
  INFO(answer.reason);
  CHECK(answer.reason.find("space exceeded") != std::string::npos);
  testing::until(*loop.env, loop.scope, "it takes writes again", [&] {
    ++number;
    auto again = bench.commit("b" + std::to_string(number), {put("more" + std::to_string(number))});
    return again.kind == conformance::Answer::COMMITTED;
  });
  CHECK(bench.load().objects.count({"task", "large"}) == 1);
}

TEST_CASE("store.etcd, managed: what is wrong is found in what etcd says", "[store]") {
  orch::etcd::Status status;
  status.databaseBytes = 60 << 20;
  CHECK_FALSE(isWasteful(status));
  status.databaseBytes = 100 << 20;
  CHECK(isWasteful(status));
  status.usedBytes = 60 << 20;
  CHECK_FALSE(isWasteful(status));

  auto read = SyncTimes::read(
      "# TYPE x\netcd_disk_wal_fsync_duration_seconds_sum 1.5\n"
      "etcd_disk_wal_fsync_duration_seconds_count 12\n");
  CHECK(read.seconds == 1.5);
  CHECK(read.count == 12);
  CHECK(SyncTimes::read("").count == 0);

  SpaceTries tries;
  auto now = kj::origin<kj::TimePoint>();
  uint32_t made = 0;
  for (; now < kj::origin<kj::TimePoint>() + 1 * kj::HOURS; now += 5 * kj::SECONDS) {
    if (!tries.isDue(now)) continue;
    ++made;
    tries.wasInVain(now);
  }
  CHECK(made == 11);

  ManagedSettings settings;
  Findings findings;
  CHECK(findings.text(settings) == "");
  CHECK_FALSE(canShrink(findings, false));
  findings.wasteful = true;
  CHECK(canShrink(findings, false));
  CHECK_FALSE(canShrink(findings, true));  // where the leader is
  CHECK(findings.text(settings) == "");
  findings.othersFull = {7};
  CHECK_FALSE(canShrink(findings, false));
  CHECK(findings.text(settings).find("another host's") != std::string::npos);
  findings.othersFull.clear();
  findings.diskSlow = true;
  CHECK(findings.text(settings).find("is slow") != std::string::npos);
  findings.full = true;
  CHECK(findings.text(settings).find("quotaBytes") != std::string::npos);
}

}  // namespace
}  // namespace orch::store::etcd
