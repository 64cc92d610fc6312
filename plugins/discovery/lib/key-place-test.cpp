#include "lib/key-place.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::discovery {
namespace {

std::string keyPlaceOf(std::string_view uri, std::string_view path = "docker/swarm/nodes",
                       bool tls = false) {
  auto parsed = attemptNow([&] { return parseKeyPlace({"etcd", ":2379"}, uri, path, tls); });
  if (!parsed.ok()) return std::string("! ") + parsed.message().cStr();
  std::string text;
  for (auto& url : parsed.value().urls()) text += url + " ";
  return text + parsed.value().nodes + " " + parsed.value().details;
}

TEST_CASE("uri: of a store of keys it leads where classic Swarm's does", "[discovery]") {
  CHECK(keyPlaceOf("etcd://10.0.0.1:2379") ==
        "http://10.0.0.1:2379 docker/swarm/nodes/ orch/docker/swarm/nodes/");
  CHECK(keyPlaceOf("etcd://h1:2379,h2:1,[fd00::1]/lab/a/", "/nodes/") ==
        "http://h1:2379 http://h2:1 http://[fd00::1]:2379 lab/a/nodes/ lab/a/orch/nodes/");
  CHECK(keyPlaceOf("etcd+https://a:1").starts_with("https://a:1 "));
  CHECK(keyPlaceOf("etcd://a:1", "p", true).starts_with("https://a:1 "));
  for (auto bad : {"", "etcd://", "etcd:///x", "consul://a:1", "etcd://a:0", "etcd://a b:1",
                   "etcd://a:1,", "etcd://a:1/x//y", "etcd://a:1/../x", "etcd://a:1/x?y"}) {
    INFO(bad);
    CHECK(keyPlaceOf(bad).starts_with("! uri: '"));
    CHECK(keyPlaceOf(bad).ends_with("; accepted: etcd://host:port/prefix, or etcd+https://…"));
  }
  for (auto bad : {"", "/", "a//b", "a b", "../a"}) {
    INFO(bad);
    CHECK(keyPlaceOf("etcd://a:1", bad).starts_with("! path: '"));
  }
  std::string many = "etcd://a";
  for (int i = 0; i < 16; ++i) many += ",a";
  CHECK(keyPlaceOf(many).find("has more than 16 hosts") != std::string::npos);
}

}  // namespace
}  // namespace orch::discovery
