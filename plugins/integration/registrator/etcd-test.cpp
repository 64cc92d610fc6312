// The plugin's own file against a real etcd.
#include <catch2/catch.hpp>

#include "etcd/testing/test-etcd.h"
#include "orch/attempt.h"
#include "test-plugin.h"

namespace orch::integration::registrator {
namespace {

using orch::etcd::TestEtcd;

struct OnEtcd : TestLoop {
  explicit OnEtcd(kj::StringPtr testName) : etcd(*env, scope, testName) {}
  kj::Own<TestPlugin> start(std::function<void(Config::Builder)> more = [](Config::Builder) {}) {
    return kj::heap<TestPlugin>(*this, [&](Config::Builder settings) {
      settings.setRegistry(kj::str("etcd", etcd.url().c_str() + strlen("http"), "/services"));
      more(settings);
    });
  }
  // Keys and values, one a line.
  std::string below(const char* prefix) { return etcd.ctl({"get", "--prefix", prefix}); }
  TestEtcd etcd;
};

std::string entryOf(const char* slotAndTask, const char* value) {
  return "/services/httpd/" + idOf(slotAndTask) + "\n" + value + "\n";
}

TEST_CASE("registrator: a service is a key of etcd for as long as its task serves",
          "[registrator][etcd]") {
  OnEtcd test("registrator-etcd");
  test.etcd.ctl({"put", "/services/httpd/by-hand", "10.0.0.9:1"});
  test.etcd.ctl({"put", "/services/httpd/" + idOf("2.t2"), "10.0.0.9:2"});
  auto plugin = test.start();
  plugin->tell({{"t1", 7070}, {"t2", 7071}});
  auto others = std::string("/services/httpd/by-hand\n10.0.0.9:1\n");
  CHECK(test.below("/services/") ==
        others + entryOf("1.t1", "192.168.1.102:7070") + entryOf("2.t2", "10.0.0.9:2"));
  CHECK(plugin->logged("warn registrator.refused") == 1);
  // The next life takes over what is there.
  plugin = nullptr;
  auto revision = test.etcd.revision();
  plugin = test.start();
  plugin->tell({{"t1", 7070}});
  CHECK(test.etcd.revision() == revision);
  plugin->tell({});
  CHECK(test.below("/services/") == others + entryOf("2.t2", "10.0.0.9:2"));
  CHECK(test.below("/orch/").empty());
}

TEST_CASE(
    "registrator: keys of etcd are what runs again after it was away, and go with a lost node",
    "[registrator][etcd]") {
  OnEtcd test("registrator-etcd-away");
  auto plugin = test.start([](Config::Builder settings) { settings.setTimeoutMs(200); });
  plugin->tell({{"t1"}});
  test.etcd.kill();
  plugin->tell({{"t2"}});
  test.etcd.start();
  test.until("the new one is there", [&] {
    return attemptNow([&] { return test.below("/services/"); }).ok() &&
           test.below("/services/") == entryOf("1.t2", "192.168.1.102:8080");
  });
  test.etcd.ctl({"put", "/services/httpd/lost", "10.0.0.2:1"});
  test.etcd.ctl({"put", "/orch/registrator/services/lostnode/httpd/lost", "10.0.0.2:1"});
  plugin->emit("node.down", "lostnode");
  test.until("it is gone",
             [&] { return test.below("/services/") == entryOf("1.t2", "192.168.1.102:8080"); });
}

TEST_CASE("registrator: keys of a node that has gone silent go with its lease",
          "[registrator][etcd]") {
  OnEtcd test("registrator-etcd-ttl");
  auto plugin = test.start([](Config::Builder settings) { settings.setTtlMs(3'000); });
  plugin->tell({{"t1"}});
  CHECK(test.below("/services/") == entryOf("1.t1", "192.168.1.102:8080"));
  plugin = nullptr;
  test.until("they are gone", [&] { return test.below("/").empty(); });
}

TEST_CASE("registrator: SkyDNS finds a service whose id is a host name", "[registrator][etcd]") {
  OnEtcd test("registrator-skydns");
  auto plugin = test.start([&](Config::Builder settings) {
    settings.setRegistry(
        kj::str("skydns2", test.etcd.url().c_str() + strlen("http"), "/cluster.local"));
  });
  plugin->tell({{"t1", 7070, {"SERVICE_NAME=redis", "SERVICE_ID=redis-1"}}, {"t2"}});
  CHECK(test.below("/skydns/") ==
        "/skydns/local/cluster/redis/redis-1\n{\"host\":\"192.168.1.102\",\"port\":7070}\n");
  CHECK(plugin->logged("warn registrator.refused") == 1);
  plugin->tell({});
  CHECK(test.below("/").empty());
}

}  // namespace
}  // namespace orch::integration::registrator
