// Members of an etcd that the plugin runs itself that lose their data, their address, their
// invitation, or most of the others.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "managed/test-managed.h"

namespace orch::store::etcd {
namespace {

using conformance::Bench;

conformance::Change newTask(const std::string& key) { return {"task", key, 0, "v"}; }

TEST_CASE("store.etcd, managed: a member that has lost its data is made anew", "[store][etcd]") {
  ThreeHosts hosts("managed-lost");
  hosts.joinAll();
  testing::until(*hosts.loop.env, hosts.loop.scope, "it has noted that it runs",
                 [&] { return hosts.three.known() == 3; });
  hosts.three.stop();
  std::filesystem::remove_all(hosts.three.file("etcd"));
  hosts.three.start();
  CHECK_FALSE(hosts.three.isPresent());
  // And that it has is known until then, also after another start.
  auto lost = "this host's etcd has lost its data, '" + hosts.three.file("etcd") +
              "', and is made anew once most of the other managers' answer; if the disk comes back "
              "first, rename '" +
              hosts.three.file("member.lost") + "' to '" + hosts.three.file("member") +
              "' and start orchd again";
  CHECK(hosts.three.trouble() == lost);
  hosts.three.stop();
  hosts.three.start();
  CHECK(hosts.three.trouble() == lost);
  CHECK_THAT(loadAt(hosts.three), Catch::Contains(lost));
  Bench(hosts.one).mustCommit("meanwhile", {newTask("meanwhile")});
  hosts.admit(hosts.three);
  CHECK(hosts.three.trouble() == "");
  hosts.one.tend({&hosts.one, &hosts.two, &hosts.three});
  CHECK(Bench(hosts.three).load().objects.size() == 2);
}

TEST_CASE("store.etcd, managed: a host that has another address is reached there",
          "[store][etcd]") {
  ThreeHosts hosts("managed-moved");
  hosts.joinAll();
  auto all = {&hosts.one, &hosts.two, &hosts.three};
  hosts.three.stop();
  hosts.three.address = "127.0.0.4:2377";
  hosts.three.start();
  hosts.three.settle();
  hosts.three.settle();  // nothing happens
  hosts.one.tend(all);
  CHECK(loadAt(hosts.three) == "");
  hosts.two.stop();
  Bench(hosts.three).mustCommit("there", {newTask("there")});
}

TEST_CASE("store.etcd, managed: the etcd is led from the host that leads the cluster",
          "[store][etcd]") {
  ThreeHosts hosts("managed-led");
  hosts.joinAll();
  auto leads = [&](ManagedHost& host) {
    auto text = host.member()->demand("/v3/maintenance/status", "{}").wait(hosts.loop.scope);
    auto status = orch::etcd::readStatus(text);
    return status.leader == status.member;
  };
  uint64_t epoch = 0;
  for (auto* host : {&hosts.two, &hosts.three}) {
    auto elected = Bench(*host).elect(host->id, epoch).wait(hosts.loop.scope);
    REQUIRE(elected.won);
    epoch = elected.epoch;
    testing::until(*hosts.loop.env, hosts.loop.scope, "its member leads",
                   [&] { return leads(*host); });
  }
}

TEST_CASE("store.etcd, managed: one whose invitation was lost on its way gets another one",
          "[store][etcd]") {
  ThreeHosts hosts("managed-invited");
  hosts.one.found();
  first(hosts.one);
  auto request = hosts.one.servers().admitRequest();
  hosts.two.name(request.initHost());
  request.send().wait(hosts.loop.scope);
  // Nobody else comes before it.
  CHECK(hosts.one.invite(hosts.three).find("has to catch up first") != std::string::npos);
  CHECK_FALSE(hosts.three.isPresent());
  hosts.admit(hosts.two);
  hosts.one.tend({&hosts.one, &hosts.two});
  CHECK(loadAt(hosts.two) == "");
  // Its invitation is for nobody else.
  auto joining = hosts.three.servers().joinRequest();
  hosts.three.name(joining.initHost());
  auto refused = attempt(joining.send()).wait(hosts.loop.scope);
  REQUIRE_FALSE(refused.ok());
}

TEST_CASE(
    "store.etcd, managed: a member that runs stays as it is, whoever is asked for another one",
    "[store][etcd]") {
  ThreeHosts hosts("managed-again");
  hosts.joinAll();
  // As when the host has asked twice, and the second time is looked at only now.
  for (auto* asks : {&hosts.two, &hosts.three}) {
    CHECK_THAT(hosts.one.invite(*asks),
               Catch::EndsWith("runs and is with the others: it stays as it is"));
  }
  hosts.one.tend({&hosts.one, &hosts.two, &hosts.three});
  hosts.two.stop();
  Bench(hosts.three).mustCommit("later", {newTask("later")});
}

TEST_CASE("store.etcd, managed: what is left of an etcd that ended is put aside for a new one",
          "[store][etcd]") {
  ThreeHosts hosts("managed-leftover");
  hosts.joinAll();
  // It ends while the third, which is no manager any more, is off.
  for (auto host : {&hosts.three, &hosts.two, &hosts.one}) host->stop();
  for (auto host : {&hosts.two, &hosts.one}) std::filesystem::remove_all(host->file(""));
  for (auto host : {&hosts.one, &hosts.three}) host->start();
  CHECK(hosts.three.isPresent());
  hosts.one.found();
  first(hosts.one);
  CHECK(hosts.three.of() != hosts.one.of());
  hosts.admit(hosts.three);
  CHECK(hosts.three.of() == hosts.one.of());
  CHECK(std::filesystem::exists(hosts.three.file("before/etcd/member/wal")));
  CHECK(std::filesystem::exists(hosts.three.file("before/member")));
  hosts.one.tend({&hosts.one, &hosts.three});
  CHECK(loadAt(hosts.three) == "");
}

TEST_CASE(
    "store.etcd, managed: what is left of an etcd that ended does not keep one from a new one",
    "[store][etcd]") {
  ThreeHosts hosts("managed-founds-anew");
  hosts.two.options.timeoutMs = 2'000;
  hosts.two.stop();
  hosts.two.start();
  hosts.joinAll();
  hosts.three.leave();
  hosts.one.stop();
  auto before = hosts.two.of();
  hosts.two.found();
  CHECK(hosts.two.of() != before);
  CHECK(std::filesystem::exists(hosts.two.file("before/member")));
  first(hosts.two);
}

TEST_CASE("store.etcd, managed: when most are gone for good, one goes on alone if it is told to",
          "[store][etcd]") {
  ThreeHosts hosts("managed-alone");
  hosts.joinAll();
  hosts.two.stop();
  hosts.three.stop();
  hosts.one.stop();
  std::ofstream(hosts.one.file("alone")).close();
  hosts.one.start();
  CHECK(Bench(hosts.one).load().objects.size() == 1);
  testing::until(*hosts.loop.env, hosts.loop.scope, "it is told once",
                 [&] { return !std::filesystem::exists(hosts.one.file("alone")); });
  hosts.one.stop();
  hosts.one.start();
  Bench(hosts.one).mustCommit("alone", {newTask("alone")});
  // One that comes back all the same learns that it is no member, and gets another one.
  hosts.two.start();
  hosts.awaitNothingLeft(hosts.two);
  hosts.admit(hosts.two);
  hosts.one.tend({&hosts.one, &hosts.two});
  CHECK(Bench(hosts.two).load().objects.size() == 2);
}

}  // namespace
}  // namespace orch::store::etcd
