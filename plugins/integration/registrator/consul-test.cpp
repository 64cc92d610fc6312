// The plugin's own file against a real agent of consul.
#include <catch2/catch.hpp>

#include <algorithm>
#include <fstream>

#include "consul/client.h"
#include "consul/services.h"
#include "consul/testing/test-consul.h"
#include "test-plugin.h"

namespace orch::integration::registrator {
namespace {

using orch::consul::RegisteredService;
using orch::consul::TestConsul;
using Ids = std::vector<std::string>;

struct OnConsul : TestLoop {
  explicit OnConsul(kj::StringPtr testName, std::string hcl = "", std::string token = "")
      : consul(*env, scope, testName, 1, std::move(hcl)) {
    consul.token = std::move(token);
    consul.waitForLeader();
  }
  kj::Own<TestPlugin> start(
      std::function<void(Config::Builder)> more = [](Config::Builder) {},
      testing::Isolation isolation = testing::Isolation::KERNEL,
      kj::StringPtr nodeId = TestPlugin::NODE_ID) {
    return kj::heap<TestPlugin>(
        *this,
        [&](Config::Builder settings) {
          settings.setRegistry(kj::str("consul://127.0.0.1:", consul.port()));
          more(settings);
        },
        isolation, nodeId);
  }
  orch::consul::Reply ask(kj::HttpMethod method, const std::string& path, std::string body = "") {
    orch::consul::ClientSettings settings;
    settings.endpoints = {http::Endpoint::parse(consul.url())};
    settings.timeout = 60 * kj::SECONDS;
    orch::consul::Client client(*env, settings);
    return client.ask(method, path, body).wait(scope);
  }
  void put(const RegisteredService& service) {
    auto text = orch::consul::registrationText(service, {});
    REQUIRE(ask(kj::HttpMethod::PUT, "/v1/agent/service/register", text).status == 200);
  }
  std::vector<RegisteredService> services() {
    auto all = orch::consul::readServices(ask(kj::HttpMethod::GET, "/v1/agent/services").body);
    std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.id < b.id; });
    return all;
  }
  Ids ids() {
    Ids ids;
    for (auto& service : services()) ids.push_back(service.id);
    return ids;
  }
  bool inCatalog(const char* name) {
    return consul.ctl({"catalog", "services"}).find(name) != std::string::npos;
  }
  TestConsul consul;
};

// What a node registers has this in its meta.
std::map<std::string, std::string> metaOf(kj::StringPtr node, const char* task) {
  return {{"orch-node", node.cStr()}, {"orch-task", task}};
}

TEST_CASE("registrator: a service is in consul's catalog for as long as its task serves",
          "[registrator][consul]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  OnConsul test("registrator-catalog");
  auto plugin = test.start([](Config::Builder) {}, isolation);
  plugin->tell({});
  plugin->tell({{"t1", 7070, {"SERVICE_TAGS=a,b", "SERVICE_REGION=eu"}}});
  auto meta = metaOf(TestPlugin::NODE_ID, "t1");
  meta["region"] = "eu";
  RegisteredService expected{idOf("1.t1"), "httpd", "192.168.1.102", 7070, {"a", "b"}, meta};
  CHECK(test.services() == std::vector<RegisteredService>{expected});
  test.until("httpd is in the catalog", [&] { return test.inCatalog("httpd"); });
  plugin->tell({});
  CHECK(test.services().empty());
  test.until("httpd is gone from the catalog", [&] { return !test.inCatalog("httpd"); });
}

TEST_CASE("registrator: what an earlier life has left goes, and what others have registered stays",
          "[registrator][consul]") {
  OnConsul test("registrator-others");
  test.put({idOf("9.gone"), "httpd", "10.0.0.1", 1, {}, metaOf(TestPlugin::NODE_ID, "gone")});
  test.put({"other:web.1.x:80", "httpd", "10.0.0.2", 2, {}, metaOf("another", "x")});
  test.put({idOf("1.t1"), "by-hand", "10.0.0.3", 3, {}, {}});
  auto plugin = test.start();
  plugin->tell({{"t1"}, {"t2"}});
  CHECK(test.ids() == Ids{"other:web.1.x:80", idOf("1.t1"), idOf("2.t2")});
  CHECK(test.services()[1].name == "by-hand");
  CHECK(plugin->logged("warn registrator.refused") == 1);
  plugin->tell({});
  CHECK(test.ids() == Ids{"other:web.1.x:80", idOf("1.t1")});
}

TEST_CASE("registrator: what runs is in consul again after it was away, or had lost it",
          "[registrator][consul]") {
  OnConsul test("registrator-away");
  auto plugin = test.start([](Config::Builder settings) {
    settings.setTimeoutMs(200);
    settings.setResyncMs(100);
  });
  plugin->tell({{"t1"}, {"t2"}});
  CHECK(test.ids().size() == 2);
  test.ask(kj::HttpMethod::PUT, "/v1/agent/service/deregister/" + idOf("1.t1"));
  test.until("it is registered again", [&] { return test.ids().size() == 2; });
  test.consul.kill();
  plugin->tell({{"t3"}});  // it answers all the same
  test.consul.wipe();
  test.consul.start();
  test.consul.waitForLeader();
  test.until("the new one is there", [&] { return test.ids() == Ids{idOf("1.t3")}; });
}

TEST_CASE("registrator: a service has the checks that its container asks for, and no others",
          "[registrator][consul]") {
  OnConsul test("registrator-checks");
  auto plugin = test.start([](Config::Builder settings) { settings.setTtlMs(60'000); });
  plugin->tell({{"t1", 1, {"SERVICE_CHECK_TCP=true", "SERVICE_CHECK_INTERVAL=1h"}},
                {"t2", 2, {"SERVICE_CHECK_SCRIPT=true"}},
                {"t3", 3, {"SERVICE_CHECK_HTTP=/", "SERVICE_CHECK_INTERVAL=often"}}});
  CHECK(test.ids() == Ids{idOf("1.t1"), idOf("2.t2")});
  auto checks = test.ask(kj::HttpMethod::GET, "/v1/agent/checks").body;
  auto has = [&](const std::string& id) { return checks.find("\"" + id) != std::string::npos; };
  CHECK(has("service:" + idOf("1.t1")));
  CHECK(has("orch:" + idOf("1.t1")));
  CHECK(has("orch:" + idOf("2.t2")));
  CHECK_FALSE(has("service:" + idOf("2.t2")));
  CHECK(plugin->logged("warn registrator.check-refused, registered without it") == 1);
  CHECK(plugin->logged("warn registrator.refused") == 1);
}

TEST_CASE("registrator: without an agent of its own a node has its services in the catalog alone",
          "[registrator][consul]") {
  OnConsul test("registrator-agentless");
  auto alone = [](Config::Builder settings) { settings.setApi("catalog"); };
  auto plugin = test.start(alone);
  plugin->tell({{"t1", 7070, {"SERVICE_TAGS=a", "SERVICE_CHECK_TCP=true"}}, {"t2"}});
  CHECK(test.ids().empty());
  auto ofNode = [&] {
    return orch::consul::readNodeServices(
        test.ask(kj::HttpMethod::GET, "/v1/catalog/node/orch-test-node").body);
  };
  auto services = ofNode();
  REQUIRE(services.size() == 2);
  auto meta = metaOf(TestPlugin::NODE_ID, "t1");
  meta["check_tcp"] = "true";
  CHECK(services[0] ==
        RegisteredService{idOf("1.t1"), "httpd", "192.168.1.102", 7070, {"a"}, meta});
  CHECK(plugin->logged("warn registrator.check-refused, registered without it") == 1);
  auto passing = test.ask(kj::HttpMethod::GET, "/v1/health/service/httpd?passing").body;
  CHECK(passing.find(idOf("2.t2")) != std::string::npos);
  plugin = nullptr;
  plugin = test.start(alone);
  plugin->tell({{"t0"}, {"t2"}});
  CHECK(ofNode().size() == 2);
  plugin->tell({});
  CHECK(ofNode().empty());
}

TEST_CASE(
    "registrator: what a node that is down has left in the same consul goes, and nothing else",
    "[registrator][consul]") {
  OnConsul test("registrator-lost");
  test.put({"lost:web.1.x:80", "httpd", "10.0.0.2", 2, {}, metaOf("lostnode", "x")});
  test.put({"here:web.1.y:80", "httpd", "10.0.0.3", 3, {}, metaOf("herenode", "y")});
  test.put({"by-hand", "httpd", "10.0.0.4", 4, {}, {}});
  // By an agent that is gone with its host.
  auto dead = std::string(R"({"Node":"dead","Address":"10.0.0.5","Service":{"ID":"lost:80",)"
                          R"("Service":"left","Meta":{"orch-node":"lostnode"}}})");
  REQUIRE(test.ask(kj::HttpMethod::PUT, "/v1/catalog/register", dead).status == 200);
  auto plugin = test.start();
  plugin->tell({{"t1"}});
  CHECK(test.ids().size() == 4);
  CHECK(test.inCatalog("left"));
  plugin->emit("node.down", "lostnode");
  plugin->emit("node.down", TestPlugin::NODE_ID);
  test.until("it is gone", [&] {
    return test.ids() == Ids{"by-hand", "here:web.1.y:80", idOf("1.t1")} && !test.inCatalog("left");
  });
}

TEST_CASE("registrator: a service is a key of consul for as long as its task serves",
          "[registrator][consul]") {
  OnConsul test("registrator-kv");
  test.consul.ctl({"kv", "put", "services/httpd/" + idOf("2.t2"), "10.0.0.9:2"});
  test.consul.ctl({"kv", "put", "services/httpd/lost", "10.0.0.2:1"});
  test.consul.ctl({"kv", "put", "orch/registrator/services/lostnode/httpd/lost", "10.0.0.2:1"});
  auto kv = [&](Config::Builder settings) {
    settings.setRegistry(kj::str("consulkv://127.0.0.1:", test.consul.port(), "/services"));
  };
  auto keys = [&] { return test.consul.ctl({"kv", "get", "-recurse", "services/"}); };
  auto plugin = test.start(kv);
  plugin->tell({{"t1", 7070}, {"t2"}});
  auto others = "services/httpd/" + idOf("2.t2") + ":10.0.0.9:2\n";
  CHECK(keys() == "services/httpd/lost:10.0.0.2:1\nservices/httpd/" + idOf("1.t1") +
                      ":192.168.1.102:7070\n" + others);
  CHECK(plugin->logged("warn registrator.refused") == 1);
  plugin->emit("node.down", "lostnode");
  test.until("the lost one is gone", [&] { return keys().find("lost") == std::string::npos; });
  plugin = nullptr;
  plugin = test.start(kv);
  plugin->tell({{"t1", 7071}});
  CHECK(keys() == "services/httpd/" + idOf("1.t1") + ":192.168.1.102:7071\n" + others);
  plugin->tell({});
  CHECK(keys() == others);
  CHECK(test.consul.ctl({"kv", "get", "-recurse", "orch/"}).empty());
}

TEST_CASE("registrator: a token with the rights that its manual names is enough",
          "[registrator][consul]") {
  OnConsul test("registrator-acl", TestConsul::aclHcl(), TestConsul::MASTER);
  testing::TestFolder folder("registrator-token");
  auto made = test.consul.makeToken("orch",
                                    "service_prefix \"\" { policy = \"write\" } "
                                    "node_prefix \"\" { policy = \"read\" } "
                                    "node_prefix \"orch-\" { policy = \"write\" }");
  auto token = std::string(folder.sub("token").cStr());
  std::ofstream(token) << made.secret << "\n";
  for (auto* api : {"agent", "catalog"}) {
    CAPTURE(api);
    auto plugin = test.start([&](Config::Builder settings) {
      settings.setTokenFile(token.c_str());
      settings.setApi(api);
    });
    plugin->tell({{"t1"}});
    test.until("httpd is in the catalog", [&] { return test.inCatalog("httpd"); });
    plugin->tell({});
    test.until("httpd is gone from the catalog", [&] { return !test.inCatalog("httpd"); });
    // Another node's.
    plugin->tell({{"t1"}});
    test.until("httpd is in the catalog", [&] { return test.inCatalog("httpd"); });
    plugin = nullptr;
    auto other = test.start([&](Config::Builder settings) { settings.setTokenFile(token.c_str()); },
                            testing::Isolation::KERNEL, "another0another0another0a");
    other->tell({});
    other->emit("node.down", TestPlugin::NODE_ID);
    test.until("httpd is gone with its node", [&] { return !test.inCatalog("httpd"); });
  }
}

}  // namespace
}  // namespace orch::integration::registrator
