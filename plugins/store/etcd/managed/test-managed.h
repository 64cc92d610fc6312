// For the tests of an etcd that the plugin runs itself: hosts, which are addresses of loopback.
#pragma once

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/sockets.h"
#include "store-bench.h"
#include "test-store.h"

namespace orch::store::etcd {

// The process whose arguments have this one.
inline int processWith(const std::string& argument) {
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (all.find(argument + '\0') == std::string::npos) continue;
    return std::stoi(entry.path().filename());
  }
  return -1;
}

// With the plugin; its member is on an address of its own.
class ManagedHost final : public conformance::StoreFixture {
 public:
  ManagedHost(TestLoop& loop, kj::StringPtr testName, int number, uint16_t peerPort)
      : id("host-" + std::to_string(number)),
        address("127.0.0." + std::to_string(number) + ":2377"),
        loop(loop),
        folder(kj::str(testName, "-", number)) {
    options.managed = true;
    options.timeoutMs = 20'000;
    options.peerPort = peerPort;
    options.clientPort = testing::freePort();
    start();
  }

  void start() { start(*loop.env); }
  void start(Env& env) { plugin = kj::heap<TestStore>(env, loop.scope, folder.path(), options); }
  void stop() { plugin = nullptr; }
  schema::Store::Client fresh() override { return plugin->store; }
  schema::Store::Client reopened() override {
    stop();
    start();
    return plugin->store;
  }
  kj::WaitScope& waitScope() override { return loop.scope; }

  schema::StoreServers::Client servers() {
    return plugin->store.serversRequest().send().wait(loop.scope).getServers();
  }
  void name(schema::StoreHost::Builder host) const {
    host.setNodeId(id.c_str());
    host.setAddress(address.c_str());
  }
  void found() {
    auto request = servers().foundRequest();
    name(request.initHost());
    request.send().wait(loop.scope);
  }
  bool isPresent() { return servers().stateRequest().send().wait(loop.scope).getPresent(); }
  // Names the etcd that it has a member of.
  std::string of() { return servers().stateRequest().send().wait(loop.scope).getOf().cStr(); }
  size_t known() { return servers().stateRequest().send().wait(loop.scope).getServers().size(); }
  void settle() {
    auto request = servers().settleRequest();
    name(request.initHost());
    request.send().wait(loop.scope);
  }
  // Why not; empty: it has a member now.
  std::string invite(ManagedHost& other) {
    auto outcome = attemptNow([&] { other.join(admit(other)); });
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  // The invitation.
  kj::Array<kj::byte> admit(ManagedHost& other) {
    auto request = servers().admitRequest();
    other.name(request.initHost());
    auto admitted = request.send().wait(loop.scope);
    return kj::heapArray<kj::byte>(admitted.getInvitation());
  }
  void join(kj::ArrayPtr<const kj::byte> invitation) {
    auto joining = servers().joinRequest();
    name(joining.initHost());
    joining.setInvitation(invitation);
    joining.send().wait(loop.scope);
  }
  void leave() { servers().leaveRequest().send().wait(loop.scope); }
  std::string trouble() {
    return servers().stateRequest().send().wait(loop.scope).getTrouble().cStr();
  }
  // Until the members are those of these hosts.
  void tend(std::vector<ManagedHost*> hosts) {
    std::string last;
    testing::until(*loop.env, loop.scope, "the members are as they are to be", [&] {
      auto request = servers().tendRequest();
      auto list = request.initHosts(hosts.size());
      for (uint32_t i = 0; i < list.size(); ++i) hosts[i]->name(list[i]);
      auto tended = attemptNow([&] { return request.send().wait(loop.scope); });
      return tended.ok() && tended.value().getSettled();
    });
  }
  std::string file(const std::string& name) const {
    return folder.sub(kj::str("store.etcd/", name.c_str())).cStr();
  }
  TestStore& running() { return *plugin; }
  // Asks this host's member itself, which has run.
  kj::Own<orch::etcd::Client> member() {
    auto endpoint =
        http::Endpoint::parse("https://127.0.0.1:" + std::to_string(options.clientPort));
    http::TlsFiles files{file("tls/ca.pem"), file("tls/member.pem"), file("tls/member.key")};
    return kj::heap<orch::etcd::Client>(*loop.env, std::vector{endpoint}, files, 20 * kj::SECONDS);
  }

  const std::string id;
  std::string address;
  TestStore::Options options;

 private:
  TestLoop& loop;
  testing::TestFolder folder;
  kj::Own<TestStore> plugin;
};

// What a load by it says; empty: it works.
inline std::string loadAt(ManagedHost& host) {
  auto outcome = attemptNow([&] { conformance::Bench(host).load(); });
  return outcome.ok() ? "" : outcome.message().cStr();
}

// It keeps one object.
inline void first(ManagedHost& host) {
  conformance::Bench(host).mustCommit("first", {conformance::Change{"task", "first", 0, "v"}});
}

struct ThreeHosts {
  explicit ThreeHosts(kj::StringPtr name)
      : port(testing::freePort()),
        one(loop, name, 1, port),
        two(loop, name, 2, port),
        three(loop, name, 3, port) {}
  void joinAll() {
    one.found();
    first(one);
    REQUIRE(one.invite(two) == "");
    one.tend({&one, &two, &three});
    admit(three);
    one.tend({&one, &two, &three});
  }
  // etcd takes no other while its members have not been together for five seconds, nor in the
  // second in which one was removed from the same address.
  void admit(ManagedHost& host) {
    testing::until(*loop.env, loop.scope, "it is taken in", [&] { return one.invite(host) == ""; });
  }
  void awaitNothingLeft(ManagedHost& host) {
    testing::until(*loop.env, loop.scope, "its member and its files are gone", [&] {
      return !host.isPresent() && !std::filesystem::exists(host.file("etcd")) &&
             !std::filesystem::exists(host.file("tls"));
    });
  }
  TestLoop loop;
  uint16_t port;
  ManagedHost one, two, three;
};

}  // namespace orch::store::etcd
