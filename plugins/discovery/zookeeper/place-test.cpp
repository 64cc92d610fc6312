#include "place.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::discovery::zookeeper {
namespace {

std::string placeOf(std::string_view uri, std::string_view path = "docker/swarm/nodes") {
  auto parsed = attemptNow([&] { return parsePlace(uri, path); });
  if (!parsed.ok()) return std::string("! ") + parsed.message().cStr();
  auto& place = parsed.value();
  return orch::zookeeper::namesOf(place.servers) + " " + place.nodes + " " + place.details;
}

TEST_CASE("zookeeper: a uri leads where classic Swarm's does", "[discovery]") {
  CHECK(placeOf("zk://10.0.0.1:2181") ==
        "'10.0.0.1:2181' /docker/swarm/nodes /orch/docker/swarm/nodes");
  CHECK(placeOf("zk://h1:2181,h2:2182,[fd00::1]/lab/a/") ==
        "'h1:2181', 'h2:2182', '[fd00::1]:2181' /lab/a/docker/swarm/nodes "
        "/lab/a/orch/docker/swarm/nodes");
  CHECK(placeOf("zk://a/x", "/nodes/") == "'a:2181' /x/nodes /x/orch/nodes");
  for (auto bad :
       {"", "zk://", "zk:///x", "etcd://a:1", "zk://a:0", "zk://a b:1", "zk://a:1,",
        "zk://a:1/x//y", "zk://a:1/../x", "zk://a:1/x y", "zk://a:1/zookeeper/x", "a:1"}) {
    INFO(bad);
    CHECK(placeOf(bad).starts_with("! uri: '"));
    CHECK(placeOf(bad).ends_with("; accepted: zk://host:port,host:port/prefix"));
  }
  for (auto bad : {"", "/", "a//b", "..", "a b"}) {
    INFO(bad);
    CHECK(placeOf("zk://a", bad).starts_with("! path: '"));
  }
  std::string many = "zk://a";
  for (int i = 0; i < 16; ++i) many += ",a";
  CHECK(placeOf(many).find("has more than 16 hosts") != std::string::npos);
}

}  // namespace
}  // namespace orch::discovery::zookeeper
