#include "entry.h"

#include <catch2/catch.hpp>

#include "lib/testing/entry-text.h"
#include "orch/attempt.h"

namespace orch::discovery::consul {
namespace {

std::string placeOf(std::string_view uri, std::string_view path = "docker/swarm/nodes",
                    bool tls = false) {
  auto parsed = attemptNow([&] { return parsePlace(uri, path, tls); });
  if (!parsed.ok()) return std::string("! ") + parsed.message().cStr();
  std::string text;
  for (auto& endpoint : parsed.value().endpoints) text += endpoint.url + " ";
  return text + parsed.value().nodes + " " + parsed.value().details;
}

TEST_CASE("consul: a uri leads where classic Swarm's does", "[discovery]") {
  CHECK(placeOf("consul://10.0.0.1:8500") ==
        "http://10.0.0.1:8500 docker/swarm/nodes/ orch/docker/swarm/nodes/");
  CHECK(placeOf("consul://10.0.0.1:8500/lab/a/") ==
        "http://10.0.0.1:8500 lab/a/docker/swarm/nodes/ lab/a/orch/docker/swarm/nodes/");
  CHECK(placeOf("consul://consul.example,[fd00::1]:1/x", "/nodes/") ==
        "http://consul.example:8500 http://[fd00::1]:1 x/nodes/ x/orch/nodes/");
  CHECK(placeOf("consul+https://a:1").starts_with("https://a:1 "));
  CHECK(placeOf("consul://a:1", "p", true).starts_with("https://a:1 "));
  for (auto bad : {"", "consul://", "consul:///x", "etcd://a:1", "consul://a:0", "consul://a b:1",
                   "consul://a:1,", "consul://a:1/x//y", "consul://a:1/../x", "consul://a:1/x?y",
                   "http://a:1"}) {
    INFO(bad);
    CHECK(placeOf(bad).starts_with("! uri: '"));
  }
  for (auto bad : {"", "/", "a//b", "a b", "../a"}) {
    INFO(bad);
    CHECK(placeOf("consul://a:1", bad).starts_with("! path: '"));
  }
}

std::string readKeysOf(std::vector<orch::consul::KeyValue> keys) {
  auto place = parsePlace("consul://a:1/p", "n", false);
  return entriesText([&] { return readEntries(keys, place); });
}

TEST_CASE("consul: entries are read with what orch adds to classic Swarm's", "[discovery]") {
  CHECK(readKeysOf({}).empty());
  CHECK(readKeysOf({{"p/n/", "", "", 1},
                    {"p/n/10.0.0.2:1", "10.0.0.2:1", "", 2},
                    {"p/n/10.0.0.1:1", "10.0.0.1:1", "s", 2},
                    {"p/orch/n/10.0.0.1:1", "manager digest node", "s", 2},
                    {"p/orch/n/10.0.0.9:1", "manager digest node", "s", 2}}) ==
        "10.0.0.1:1/manager/node/digest 10.0.0.2:1");
  for (auto strange : {"", "x", "manager", "boss - -", "manager a\"b c d e", "- - -"}) {
    INFO(strange);
    CHECK(readKeysOf({{"p/n/a:1", "a:1", "", 1}, {"p/orch/n/a:1", strange, "", 1}})
              .starts_with("a:1"));
  }
  CHECK(readKeysOf({{"p/n/a:1", "a:1", "", 1}, {"p/n/b", "nonsense", "", 1}})
            .starts_with("! the key 'p/n/b' names what is no address: "));
  capnp::MallocMessageBuilder message;
  auto entry = message.initRoot<schema::DiscoveryEntry>();
  entry.setAddress("a:1");
  CHECK(detailsOf(entry) == "- - -");
  entry.setRole(schema::DiscoveryEntry::Role::WORKER);
  entry.setClusterDigest("d");
  entry.setNodeId("n");
  CHECK(detailsOf(entry) == "worker d n");
}

TEST_CASE("consul: a session is as short as consul lets it be", "[discovery]") {
  CHECK(sessionSeconds(1000) == 10);
  CHECK(sessionSeconds(20'000) == 10);
  CHECK(sessionSeconds(20'001) == 11);
  CHECK(sessionSeconds(180'000) == 90);
  CHECK(sessionSeconds(86'400'000) == 43'200);
}

}  // namespace
}  // namespace orch::discovery::consul
