// What goes wrong with a member of an etcd that the plugin runs itself, and is mended.
#include <catch2/catch.hpp>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "etcd/request.h"
#include "managed/test-managed.h"
#include "managed/upkeep.h"
#include "orch/durable-file.h"
#include "orch/testing/env-around.h"
#include "orch/testing/stopped-process.h"

namespace orch::store::etcd {
namespace {

using conformance::Bench;

TEST_CASE("store.etcd, managed: an outdated invitation leaves nothing, and another one comes",
          "[store][etcd]") {
  ThreeHosts hosts("managed-outdated");
  hosts.one.found();
  first(hosts.one);
  auto invitation = hosts.one.admit(hosts.three);
  // It was demoted before its first start.
  hosts.one.tend({&hosts.one});
  hosts.admit(hosts.two);
  hosts.one.tend({&hosts.one, &hosts.two});
  hosts.three.join(invitation);
  CHECK(hosts.three.isPresent());
  hosts.awaitNothingLeft(hosts.three);
  CHECK_FALSE(std::filesystem::exists(hosts.three.file("member")));
  CHECK(hosts.three.trouble().find("did not start") != std::string::npos);
  hosts.admit(hosts.three);
  hosts.one.tend({&hosts.one, &hosts.two, &hosts.three});
  CHECK(Bench(hosts.three).load().objects.size() == 1);
  CHECK(hosts.three.trouble() == "");
}

TEST_CASE("store.etcd, managed: that it has started is noted, even if that fails at first",
          "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-noted", 1, testing::freePort());
  auto request = host.servers().foundRequest();
  host.name(request.initHost());
  auto founding = request.send().ignoreResult().eagerlyEvaluate(nullptr);
  testing::until(*loop.env, loop.scope, "there is a record",
                 [&] { return std::filesystem::exists(host.file("member")); });
  auto inTheWay = unfinishedName(host.file("member"));
  std::filesystem::create_directory(inTheWay);
  founding.wait(loop.scope);
  testing::until(*loop.env, loop.scope, "it says that it could not be noted",
                 [&] { return !host.trouble().empty(); });
  std::filesystem::remove(inTheWay);
  testing::until(*loop.env, loop.scope, "it is noted", [&] { return host.trouble().empty(); });
  host.stop();
  std::filesystem::remove_all(host.file("etcd"));
  host.start();
  CHECK_FALSE(host.isPresent());
}

TEST_CASE("store.etcd, managed: keys that cannot be written are written later", "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-keys", 1, testing::freePort());
  host.options.timeoutMs = 1000;
  host.stop();
  host.start();
  std::filesystem::create_directories(host.file(""));
  std::ofstream(host.file("tls")).close();
  auto founded = attemptNow([&] { host.found(); });
  CHECK_FALSE(founded.ok());
  CHECK(host.trouble().find("keys of this host's etcd cannot be written") != std::string::npos);
  std::filesystem::remove(host.file("tls"));
  testing::until(*loop.env, loop.scope, "it runs", [&] { return host.known() == 1; });
  CHECK(host.trouble() == "");
}

// A host whose clock is set.
class SetClock final : public testing::EnvAround, private kj::Clock {
 public:
  using EnvAround::EnvAround;
  const kj::Clock& clock() override { return *this; }
  kj::Duration ahead = 0 * kj::SECONDS;

 private:
  kj::Date now() const override { return kj::systemPreciseCalendarClock().now() + ahead; }
};

TEST_CASE("store.etcd, managed: keys that were made while the clock was ahead are made anew",
          "[store][etcd]") {
  TestLoop loop;
  SetClock host(*loop.env);
  ManagedHost member(loop, "managed-clock", 1, testing::freePort());
  member.stop();
  member.options.timeoutMs = 2000;
  SECTION("by as much as at a first start") {
    host.ahead = 20 * kj::DAYS;
    member.start(host);
    member.found();
    first(member);
  }
  SECTION("by more") {
    member.start(host);
    member.found();
    first(member);
    member.stop();
    host.ahead = 60 * kj::DAYS;
    member.start(host);
    CHECK(loadAt(member) != "");
    host.ahead = 0 * kj::SECONDS;
    testing::until(*loop.env, loop.scope, "it answers again",
                   [&] { return loadAt(member).empty(); });
  }
  // Whoever has made the state stops before its clock does.
  member.stop();
}

TEST_CASE("store.etcd, managed: one whose disk was only not there goes on when that is back",
          "[store][etcd]") {
  namespace fs = std::filesystem;
  TestLoop loop;
  ManagedHost host(loop, "managed-unmounted", 1, testing::freePort());
  host.found();
  first(host);
  testing::until(*loop.env, loop.scope, "it has noted that it runs",
                 [&] { return host.known() == 1; });
  auto data = host.file("etcd"), away = host.file("away"), lost = host.file("member.lost");
  auto lose = [&] {
    host.stop();
    fs::rename(data, away);
    host.start();
    CHECK_FALSE(host.isPresent());
    REQUIRE(fs::exists(lost));
  };
  lose();
  host.stop();
  fs::rename(away, data);
  fs::rename(lost, host.file("member"));
  host.start();
  CHECK(Bench(host).load().objects.size() == 1);
  lose();
  host.found();  // another one
  CHECK_FALSE(fs::exists(lost));
}

TEST_CASE("store.etcd, managed: the first one says why it does not begin", "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-taken", 1, testing::freePort());
  host.stop();
  host.options.timeoutMs = 5000;
  host.start();
  auto taken = testing::serverIn("", host.options.peerPort);
  auto founded = attemptNow([&] { host.found(); });
  REQUIRE_FALSE(founded.ok());
  INFO(founded.message());
  CHECK(std::string(founded.message().cStr()).find("address already in use") != std::string::npos);
}

TEST_CASE("store.etcd, managed: one that leaves has no member, whether the others answer or not",
          "[store][etcd]") {
  namespace fs = std::filesystem;
  ThreeHosts hosts("managed-leaves");
  hosts.joinAll();
  auto isGone = [](ManagedHost& host) {
    return !host.isPresent() && !fs::exists(host.file("member")) &&
           !fs::exists(host.file("etcd")) && !fs::exists(host.file("tls"));
  };
  hosts.three.leave();
  CHECK(isGone(hosts.three));
  testing::until(*hosts.loop.env, hosts.loop.scope, "the others do without it",
                 [&] { return hosts.one.known() == 2; });
  Bench(hosts.two).mustCommit("without", {conformance::Change{"task", "without", 0, "v"}});

  hosts.one.stop();
  hosts.two.leave();
  hosts.two.leave();  // nothing happens
  CHECK(isGone(hosts.two));
  hosts.two.stop();
  hosts.two.start();
  CHECK_FALSE(hosts.two.isPresent());
}

TEST_CASE("store.etcd, managed: it can be stopped while its member gets another address",
          "[store][etcd]") {
  TestLoop loop;
  ManagedHost host(loop, "managed-stopped", 1, testing::freePort());
  host.found();
  first(host);
  auto pid = processWith("--data-dir=" + host.file("etcd"));
  REQUIRE(pid > 0);
  // So that it does not end too soon.
  testing::stopProcess(pid);
  host.address = "127.0.0.4:2377";
  auto request = host.servers().settleRequest();
  host.name(request.initHost());
  auto settling = attempt(request.send()).promise().eagerlyEvaluate(nullptr);
  testing::until(*loop.env, loop.scope, "the address is noted", [&] {
    std::ifstream file(host.file("member"));
    std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return all.find("127.0.0.4") != std::string::npos;
  });
  // What is to be done after that is.
  host.trouble();
  auto going = kj::evalLater([pid] { kill(pid, SIGCONT); }).eagerlyEvaluate(nullptr);
  host.stop();
  host.start();
  CHECK(Bench(host).load().objects.size() == 1);
}

TEST_CASE("store.etcd, managed: a manager at a host name keeps nobody else waiting",
          "[store][etcd]") {
  ThreeHosts hosts("managed-named");
  hosts.one.found();
  first(hosts.one);
  REQUIRE(hosts.one.invite(hosts.two) == "");
  hosts.three.address = "n3.example:2377";
  hosts.one.tend({&hosts.one, &hosts.two, &hosts.three});
  CHECK(loadAt(hosts.two) == "");
  auto request = hosts.one.servers().tendRequest();
  hosts.three.name(request.initHosts(1)[0]);
  std::string waitsFor = request.send().wait(hosts.loop.scope).getWaitsFor().cStr();
  CHECK(waitsFor.find("'n3.example:2377'") != std::string::npos);
}

TEST_CASE("store.etcd, managed: that another member is full is taken back when nobody sees to it",
          "[store][etcd]") {
  TestLoop loop;
  testing::HeldTime time(*loop.env, loop.scope);
  ManagedHost host(loop, "managed-alarm", 1, testing::freePort());
  host.found();
  first(host);
  auto etcd = host.member();
  auto alarm = [&](const char* body) {
    return etcd->demand("/v3/maintenance/alarm", body).wait(loop.scope);
  };
  alarm("{\"action\":\"ACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":\"12345\"}");
  auto refused = Bench(host).commit("full", {conformance::Change{"task", "more", 0, "v"}});
  CHECK(refused.reason.find("space exceeded") != std::string::npos);
  host.stop();
  host.start(time);
  kj::Promise<void> asking = kj::READY_NOW;
  bool asked = true, raised = true;
  auto ask = [&] {
    asked = false;
    auto answered = etcd->demand("/v3/maintenance/alarm", orch::etcd::alarmsRequest()).promise();
    asking = answered
                 .then(
                     [&](std::string text) {
                       raised = !orch::etcd::readAlarms(text).empty();
                       asked = true;
                     },
                     [&](kj::Exception&&) { asked = true; })
                 .eagerlyEvaluate(nullptr);
  };
  auto began = time.timer().now();
  testing::until(*loop.env, loop.scope, "it takes writes", [&] {
    time.advance(20 * kj::MILLISECONDS);
    if (asked && raised) ask();
    return !raised;
  });
  // Before that it was the other one's to do.
  CHECK(time.timer().now() - began >= OthersAlarm::PATIENCE);
  host.stop();
  host.start();
  Bench(host).mustCommit("again", {conformance::Change{"task", "more", 0, "v"}});
}

}  // namespace
}  // namespace orch::store::etcd
