// The plugin's own file against a real ZooKeeper.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "test-plugin.h"
#include "zookeeper-catalog.h"
#include "zookeeper/testing/test-zookeeper.h"

namespace orch::integration::registrator {
namespace {

using orch::zookeeper::TestClient;
using orch::zookeeper::TestZookeeper;

struct OnZookeeper : TestLoop {
  explicit OnZookeeper(kj::StringPtr testName)
      : server(*env, scope, testName), client(*env, scope, server.endpoints()) {}
  kj::Own<TestPlugin> start(std::function<void(Config::Builder)> more = [](Config::Builder) {}) {
    return kj::heap<TestPlugin>(*this, [&](Config::Builder settings) {
      settings.setRegistry(kj::str("zookeeper://", server.endpoint().c_str(), "/services"));
      more(settings);
    });
  }
  TestZookeeper server;
  TestClient client;
};

TEST_CASE("registrator: a node of ZooKeeper says what its documents have it say", "[registrator]") {
  ServiceEntry entry{.id = "x",
                     .name = "www",
                     .address = "192.168.1.123",
                     .port = 49153,
                     .tags = {"a"},
                     .attributes = {{"region", "eu"}},
                     .privatePort = 80,
                     .taskId = "9124853ff0d1"};
  CHECK(znodeText(entry, "n") ==
        R"({"Name":"www","IP":"192.168.1.123","PublicPort":49153,"PrivatePort":80,)"
        R"("ContainerID":"9124853ff0d1","Tags":["a"],"Attrs":{"orch-node":"n","region":"eu"}})");
}

TEST_CASE("registrator: a service is a node of ZooKeeper for as long as its task serves",
          "[registrator][zookeeper]") {
  OnZookeeper test("registrator-zookeeper");
  test.client.put("/services", "");
  test.client.put("/services/httpd", "");
  test.client.put("/services/httpd/192.168.1.102:7071", "by hand");
  auto plugin = test.start();
  plugin->tell({{"t1", 7070}, {"t2", 7071}});
  CHECK(test.client.children("/services/httpd") ==
        std::vector<std::string>{"192.168.1.102:7070", "192.168.1.102:7071"});
  CHECK(test.client.get("/services/httpd/192.168.1.102:7071") == "by hand");
  CHECK(test.client.get("/services/httpd/192.168.1.102:7070").find("\"t1\"") != std::string::npos);
  CHECK(plugin->logged("warn registrator.refused") == 1);
  // The next life has a session of its own.
  plugin = nullptr;
  plugin = test.start();
  plugin->tell({{"t1", 7070}});
  CHECK(test.client.exists("/services/httpd/192.168.1.102:7070"));
  plugin->tell({{"t3", 7072, {"SERVICE_NAME=other"}}});
  CHECK(test.client.children("/services/httpd") == std::vector<std::string>{"192.168.1.102:7071"});
  plugin->tell({});
  CHECK(test.client.children("/services") == std::vector<std::string>{"httpd"});
}

}  // namespace
}  // namespace orch::integration::registrator
