#include "lead/store-uri.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::control::manager {
namespace {

std::string refusalOf(std::string_view text) {
  auto parsed = attemptNow([&] { StoreUri::parse(text); });
  return parsed.ok() ? "" : parsed.message().cStr();
}
std::string lineOf(std::string_view text) {
  auto uri = StoreUri::parse(text);
  return uri.manifestLine(uri.plugin).cStr();
}

TEST_CASE("store uri: what is left out is the server's own, and the plugin's", "[manager]") {
  auto uri = StoreUri::parse("etcd://H1,[fd00::1],10.0.0.3:1");
  CHECK(uri.plugin == "store.etcd");
  CHECK(uri.servers == std::vector<std::string>{"h1:2379", "[fd00::1]:2379", "10.0.0.3:1"});
  CHECK(uri.prefix == "orch");
  CHECK(StoreUri::parse("ZK://a").servers[0] == "a:2181");
  CHECK(StoreUri::parse("consul+https://a//lab/x/").prefix == "lab/x");
  CHECK(StoreUri::isOne("zk://a"));
  CHECK(!StoreUri::isOne("store.etcd"));
}

TEST_CASE("store uri: what is none is refused with what is accepted", "[manager]") {
  for (auto bad : {"http://a:1", "://a", "etcd://", "etcd:///lab", "etcd://a:0", "etcd://a:70000",
                   "etcd://a,", "etcd://a:1:2", "etcd://[fd00::1", "etcd://a b", "etcd://a/x y",
                   "zk://a/x//y", "etcd://a/x?y", "file:///a"}) {
    CAPTURE(bad);
    CHECK(refusalOf(bad).starts_with("usage: --to has '" + std::string(bad) + "', which "));
    CHECK(refusalOf(bad).find("accepted: etcd://host:port,host:port/prefix") != std::string::npos);
  }
  std::string many = "etcd://a";
  for (int i = 0; i < 16; ++i) many += ",a" + std::to_string(i);
  CHECK(refusalOf(many).find("has more than 16 servers") != std::string::npos);
}

TEST_CASE("store uri: some of a store's servers are enough to name it", "[manager]") {
  auto store = StoreUri::parse("etcd://a:2379,b:2379,c:2379/lab");
  auto is = [&](const char* text) { return StoreUri::parse(text).isPartOf(store); };
  CHECK(is("etcd://b/lab"));
  CHECK(is("etcd://C:2379,A/lab/"));
  CHECK(!is("etcd://b"));
  CHECK(!is("etcd://b,d/lab"));
  CHECK(!is("etcd://b:1/lab"));
  CHECK(!is("consul://b:2379/lab"));
  CHECK(!is("etcd+https://b/lab"));
  CHECK(StoreUri::parse("etcd://b/lab").isPartOf(StoreUri::parse("etcd+https://b/lab")));
}

TEST_CASE("store uri: the manifest's line of each", "[manager]") {
  CHECK(lineOf("etcd://a,b") ==
        "plugin = [{ id = \"store.etcd\", config = { endpoints = [\"http://a:2379\", "
        "\"http://b:2379\"] } }]");
  CHECK(lineOf("consul+https://a/lab") ==
        "plugin = [{ id = \"store.consul\", config = { endpoints = [\"https://a:8500\"], prefix = "
        "\"lab/\" } }]");
  CHECK(lineOf("zk://a/lab/x") ==
        "plugin = [{ id = \"store.zookeeper\", config = { endpoints = [\"a:2181\"], prefix = "
        "\"/lab/x\" } }]");
  CHECK(
      StoreUri::parse("etcd://a/lab").manifestLine("store.etcd#2").cStr() ==
      std::string("plugin = [{ id = \"store.etcd#2\", config = { endpoints = [\"http://a:2379\"], "
                  "prefix = \"/lab/\" } }]"));
}

}  // namespace
}  // namespace orch::control::manager
