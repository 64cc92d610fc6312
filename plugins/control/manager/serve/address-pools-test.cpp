// What networks get their subnets of: `orch init --default-addr-pool`.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

TEST_CASE("address pools: networks get their subnets of them, one after the other", "[manager]") {
  NetworkFixture cluster;
  cluster.make("before");
  CHECK(cluster.subnet("before") == "10.0.0.0/24");
  CHECK(cluster.init({"172.30.0.0/25", "172.31.0.0/16"}, 26) == "");
  cluster.make("first");
  cluster.make("second");
  cluster.make("third");
  CHECK(cluster.subnet("first") == "172.30.0.0/26");
  CHECK(cluster.subnet("second") == "172.30.0.64/26");
  CHECK(cluster.subnet("third") == "172.31.0.0/26");
  CHECK(cluster.subnet("before") == "10.0.0.0/24");
  auto info = cluster.control.infoRequest().send().wait(cluster.world.waitScope());
  CHECK(info.getInfo().getCluster().getAddressPools().size() == 2);
  CHECK(info.getInfo().getCluster().getAddressPoolPrefix() == 26);
}

TEST_CASE("address pools: the length alone may be said", "[manager]") {
  NetworkFixture cluster;
  CHECK(cluster.init({}, 20) == "");
  cluster.make("net");
  CHECK(cluster.subnet("net") == "10.0.0.0/20");
}

TEST_CASE("address pools: one that is used up says what to do", "[manager]") {
  NetworkFixture cluster;
  CHECK(cluster.init({"10.7.0.0/28"}, 29) == "");
  cluster.make("one");
  cluster.make("two");
  CHECK_THAT(cluster.makeError("three", nullptr),
             Catch::Contains("no subnet is left in the cluster's address pools (10.7.0.0/28)"));
  CHECK(cluster.remove("one") == "");
  CHECK(cluster.makeError("three", nullptr) == "");
}

TEST_CASE("address pools: what a node has a route to is no network's subnet", "[manager]") {
  NetworkFixture cluster;
  auto& three = cluster.addNode("node3");
  three.routes = {"10.0.0.0/22", "10.0.5.0/24", "172.30.4.4/32"};
  three.open();
  cluster.settle();
  cluster.make("first");
  cluster.make("second");
  CHECK(cluster.subnet("first") == "10.0.4.0/24");
  CHECK(cluster.subnet("second") == "10.0.6.0/24");
  auto named = [](const char* subnet) {
    return [subnet](schema::Network::Builder it) { it.setSubnet(subnet); };
  };
  CHECK(cluster.makeError("third", named("10.0.2.0/24")) ==
        "the subnet 10.0.2.0/24 is taken: node 'host-node3' has a route to 10.0.0.0/22; choose "
        "another one, or leave --subnet out");
  CHECK_THAT(cluster.makeError("third", named("172.30.0.0/16")),
             Catch::Contains("node 'host-node3' has a route to 172.30.4.4/32"));
  CHECK(cluster.makeError("third", named("172.31.0.0/16")) == "");
}

TEST_CASE("address pools: a node that comes to overlap a network says so", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  auto problems = [&](const char* id) {
    auto request = cluster.control.nodeRequest();
    request.setId(id);
    auto answer = request.send().wait(cluster.world.waitScope());
    std::vector<std::string> found;
    for (auto problem : answer.getNode().getProblems()) found.push_back(problem.cStr());
    return found;
  };
  auto warnings = [&] {
    auto& lines = cluster.host.logLines();
    return std::count(lines.begin(), lines.end(), "warn manager.subnet-overlaps");
  };
  CHECK(problems("node1").empty());
  auto& three = cluster.addNode("node3");
  three.routes = {"10.0.0.64/26", "10.9.0.0/16"};
  three.open();
  cluster.settle();
  auto found = problems("node3");
  REQUIRE(found.size() == 1);
  CHECK_THAT(found[0], Catch::StartsWith("node 'host-node3' has a route to 10.0.0.64/26, which "
                                         "meets the network 'net' (10.0.0.0/24)"));
  CHECK(warnings() == 1);
  three.cut();
  three.open();  // says the same again
  cluster.settle();
  CHECK(warnings() == 1);
  CHECK(problems("node1").empty());
  CHECK(cluster.remove("net") == "");
  CHECK(problems("node3").empty());
}

TEST_CASE("address pools: wrong ones are refused with one line, and nothing changes", "[manager]") {
  NetworkFixture cluster;
  struct Case {
    std::vector<const char*> pools;
    uint8_t prefix;
    const char* text;
  };
  Case cases[] = {
      {{"10.7.0.0"}, 0, "--default-addr-pool '10.7.0.0' must be an IPv4 subnet"},
      {{"10.7.0.1/16"}, 0, "--default-addr-pool '10.7.0.1/16' must be an IPv4 subnet"},
      {{"fd00::/64"}, 0, "must be an IPv4 subnet"},
      {{"127.0.0.0/8"}, 0, "must not meet 127.0.0.0/8"},
      {{"224.0.0.0/16"}, 0, "must not meet 224.0.0.0/3"},
      {{"10.7.0.0/16"}, 30, "--default-addr-pool-mask-length must be 8 to 29, not 30"},
      {{"10.7.0.0/16"}, 7, "--default-addr-pool-mask-length must be 8 to 29, not 7"},
      {{"10.7.0.0/16"},
       15,
       "'10.7.0.0/16' is smaller than one network of --default-addr-pool-mask-length 15"},
      {{"10.7.0.0/25"}, 0, "is smaller than one network"},
      {{"10.7.0.0/16", "10.7.3.0/24"}, 0, "'10.7.3.0/24' meets 10.7.0.0/16"},
      {std::vector<const char*>(65, "10.7.0.0/16"), 0, "can be given 64 times at most"},
  };
  for (auto& one : cases) {
    INFO(one.text);
    CHECK_THAT(cluster.init(one.pools, one.prefix), Catch::Contains(one.text));
  }
  auto info = cluster.control.infoRequest().send().wait(cluster.world.waitScope());
  CHECK(info.getInfo().getCluster().getAddressPools().size() == 0);
  CHECK(info.getInfo().getCluster().getAddressPoolPrefix() == 24);
}

}  // namespace
}  // namespace orch::control::manager
