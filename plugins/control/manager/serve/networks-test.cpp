// Networks that users make: what may be made, who gets which address, and what nodes are told.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

TEST_CASE("networks: subnets come from the pool, and meet no other", "[manager]") {
  NetworkFixture cluster;
  cluster.make("first");
  cluster.make("second");
  cluster.make("third", [](auto it) {
    it.setSubnet("10.9.0.0/16");
    it.setGateway("10.9.0.9");
  });
  CHECK(cluster.network("first").getNetwork().getSubnet() == "10.0.0.0/24");
  CHECK(cluster.network("first").getNetwork().getGateway() == "10.0.0.1");
  CHECK(cluster.network("second").getNetwork().getSubnet() == "10.0.1.0/24");
  CHECK(cluster.network("third").getNetwork().getGateway() == "10.9.0.9");
  CHECK(cluster.network("first").getNetwork().getVni() !=
        cluster.network("second").getNetwork().getVni());
  CHECK(cluster.remove("first") == "");
  cluster.make("fourth");
  CHECK(cluster.network("fourth").getNetwork().getSubnet() == "10.0.0.0/24");
}

TEST_CASE("networks: a task has a leg, a service an address, and no two the same", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 3));
  cluster.settle();
  std::vector<std::string> all = cluster.addresses();
  REQUIRE(all.size() == 3);
  all.push_back(cluster.virtualAddress() + "/24");
  CHECK(std::set<std::string>(all.begin(), all.end()).size() == 4);
  for (auto& address : all) CHECK_THAT(address, Catch::Matches("10\\.0\\.0\\.[0-9]+/24"));
  CHECK(std::count(all.begin(), all.end(), "10.0.0.1/24") == 0);
  CHECK(cluster.states("web") == "running running running");
}

TEST_CASE("networks: with IPv6 there is a subnet of the cluster's own, and twins in it",
          "[manager]") {
  NetworkFixture cluster;
  auto asked = [](auto it) { it.setIpv6(true); };
  cluster.make("net", asked);
  cluster.make("next", asked);
  cluster.make("plain");
  std::string subnet = cluster.network("net").getNetwork().getSubnet6().cStr();
  CHECK_THAT(subnet, Catch::Matches("fd[0-9a-f:]+::/64"));
  CHECK(subnet != cluster.network("next").getNetwork().getSubnet6().cStr());
  CHECK(cluster.network("plain").getNetwork().getSubnet6() == "");
  auto base = subnet.substr(0, subnet.find('/'));
  CHECK(cluster.network("net").getNetwork().getGateway6() == base + "1");
  cluster.create(NetworkFixture::on("net", 1));
  cluster.settle();
  auto service = cluster.service("web");
  auto address = service.getService().getAddresses()[0];
  CHECK(address.getAddress() == "10.0.0.2");
  CHECK(address.getAddress6() == base + "2");
  auto listed = cluster.tasks("web");
  CHECK(listed.getTasks()[0].getLegs()[0].getAddress() == "10.0.0.3/24");
  CHECK(listed.getTasks()[0].getLegs()[0].getAddress6() == base + "3/64");
  auto& node = cluster.one->running() > 0 ? *cluster.one : *cluster.two;
  for (auto& [key, peer] : node.peers) CHECK(peer.address6 == base + "3");
}

TEST_CASE("networks: what is reserved of IPv6 is no task's twin either", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net", [](auto it) {
    it.setIpv6(true);
    it.setSubnet("10.5.0.0/29");
    it.setSubnet6("fd00:5::/64");
    it.setIpRange6("fd00:5::10/125");
    it.setGateway6("fd00:5::12");
    auto reserved = it.initReserved(1)[0];
    reserved.setKey("printer");
    reserved.setValue("fd00:5::13");
  });
  auto made = cluster.network("net");
  CHECK(made.getNetwork().getGateway() == "10.5.0.1");
  CHECK(made.getNetwork().getGateway6() == "fd00:5::12");
  CHECK_THAT(cluster.createError(NetworkFixture::on("net", 3)),
             Catch::Contains("network 'net' has 3 addresses for tasks, but 4 would be needed"));
  cluster.create(NetworkFixture::on("net", 2));
  cluster.settle();
  std::set<std::string> twins;
  auto listed = cluster.tasks("web");
  for (auto task : listed.getTasks()) twins.insert(task.getLegs()[0].getAddress6().cStr());
  auto service = cluster.service("web");
  twins.insert(service.getService().getAddresses()[0].getAddress6().cStr());
  CHECK(twins == std::set<std::string>{"fd00:5::14", "fd00:5::15/64", "fd00:5::16/64"});
}

TEST_CASE("networks: an address rests before another task gets it; a virtual one stays",
          "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 1));
  cluster.settle();
  auto first = cluster.addresses();
  auto virtualAddress = cluster.virtualAddress();
  auto next = NetworkFixture::on("net", 1);
  next.image = "web:2";
  cluster.update(next);
  cluster.advance(20 * kj::SECONDS);
  CHECK(cluster.addresses() != first);
  CHECK(cluster.virtualAddress() == virtualAddress);
}

TEST_CASE("networks: what has no addresses for a service says so when it is made", "[manager]") {
  NetworkFixture cluster;
  cluster.make("small", [](auto it) { it.setSubnet("10.5.0.0/29"); });  // 5 for tasks and services
  CHECK_THAT(cluster.createError(NetworkFixture::on("small", 5)),
             Catch::Contains("network 'small' has 5 addresses for tasks, but 6 would be needed"));
  cluster.create(NetworkFixture::on("small", 4));
  cluster.settle();
  CHECK(cluster.states("web") == "running running running running");
  CHECK_THAT(cluster.createError(NetworkFixture::on("small", 1, "other")),
             Catch::Contains("network 'small' has 5 addresses"));
}

TEST_CASE("networks: one that is used is not removed, and says by whom", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 2));
  cluster.settle();
  CHECK_THAT(cluster.remove("net"), Catch::Contains("network 'net' is in use by 'web'"));
  CHECK_THAT(cluster.remove("bridge"), Catch::Contains("is the nodes' own"));
  CHECK_THAT(cluster.remove("nte"), Catch::Contains("did you mean 'net'?"));
  cluster.TestCluster::remove("web");
  cluster.advance(20 * kj::SECONDS);
  CHECK(cluster.remove("net") == "");
}

TEST_CASE("networks: a node is told of those that its tasks are on, and of nothing else",
          "[manager]") {
  NetworkFixture cluster;
  auto net = cluster.make("net");
  auto other = cluster.make("other");
  auto spec = NetworkFixture::on("net", 2);
  cluster.create(spec);
  cluster.settle();
  CHECK(cluster.one->networks == std::set<std::string>{net});
  CHECK(cluster.one->peers.size() == 2);
  CHECK(cluster.two->peers == cluster.one->peers);
  for (auto& [key, peer] : cluster.one->peers) CHECK(peer.serving);
  CHECK(cluster.one->names ==
        std::map<std::string, std::string>{{"web", cluster.virtualAddress() + " db"}});

  auto orders = cluster.one->orders;
  cluster.two->beats = false;
  cluster.advance(10 * kj::SECONDS);
  // The one on the node that is down is nowhere any more, and another one runs here.
  CHECK(cluster.one->running() == 2);
  CHECK(cluster.one->peers.size() == 2);
  CHECK(cluster.one->orders > orders);

  cluster.TestCluster::remove("web");
  cluster.advance(20 * kj::SECONDS);
  CHECK(cluster.one->networks.empty());
  CHECK(cluster.one->peers.empty());
}

TEST_CASE("networks: of a node whose orchd ended tasks stay known, and take no new connections",
          "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  auto spec = NetworkFixture::on("net", 2);
  spec.more = [more = spec.more](schema::ServiceSpec::Builder it) {
    more(it);
    it.getTask().getPlacement().setMaxReplicasPerNode(1);
    auto port = it.initEndpoint().initPorts(1)[0];
    port.setPublished(8080);
    port.setTarget(80);
  };
  cluster.create(spec);
  cluster.settle();
  auto known = cluster.one->peers;
  REQUIRE(known.size() == 2);
  REQUIRE(cluster.one->nodes.at("node2") == "192.168.0.2 8080");
  auto serving = [&](size_t there) {
    CHECK(cluster.one->peers.size() == there);
    for (auto& [key, peer] : cluster.one->peers) {
      CHECK(peer.nodeAddress == known.at(key).nodeAddress);
      if (peer.nodeAddress == "192.168.0.2") return peer.serving;
    }
    return false;
  };
  SECTION("it crashed") {
    cluster.two->cut();
    cluster.advance(1 * kj::SECONDS);
  }
  SECTION("it was stopped") {
    cluster.two->close(false);
    cluster.advance(3 * kj::SECONDS);
  }
  CHECK(!serving(2));
  CHECK(cluster.one->nodes.at("node2") == "192.168.0.2");
  // Nor is anything known of it anew to who asks for all.
  cluster.one->cut();
  cluster.one->open();
  cluster.settle();
  CHECK(!serving(2));
  cluster.two->open();
  cluster.settle();
  CHECK(serving(2));
  CHECK(cluster.one->peers == known);
  CHECK(cluster.one->nodes.at("node2") == "192.168.0.2 8080");

  cluster.two->beats = false;
  cluster.advance(10 * kj::SECONDS);
  CHECK(!serving(1));
  CHECK(cluster.one->nodes.count("node2") == 0);
}

TEST_CASE("networks: a node that others reach by IPv6 alone gets no task of them", "[manager]") {
  NetworkFixture cluster;
  auto& three = cluster.addNode("node3");
  three.drivers = {"network.overlay"};
  three.address = "[fd90::3]:2377";
  three.open();
  cluster.settle();
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 6));
  cluster.settle();
  CHECK(cluster.one->running() == 3);
  CHECK(cluster.two->running() == 3);
  CHECK(three.running() == 0);
}

TEST_CASE("networks: a prune removes those that nobody is on, and once", "[manager]") {
  NetworkFixture cluster;
  std::vector<std::string> ids;
  for (auto name : {"used", "one", "two", "other"}) ids.push_back(cluster.make(name));
  cluster.create(NetworkFixture::on("used", 1));
  cluster.settle();
  auto prune = [&](const char* requestId, const std::vector<std::string>& these) {
    auto request = cluster.control.pruneNetworksRequest();
    request.setRequestId(requestId);
    auto list = request.initIds(these.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, these[i].c_str());
    auto sent = request.send();
    cluster.settle();
    auto answer = sent.wait(cluster.world.waitScope());
    std::vector<std::string> names;
    for (auto name : answer.getRemoved()) names.push_back(name.cStr());
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(prune("prune-1", {ids[0], ids[1], ids[2], "unknown", "bridge"}) == Names{"one", "two"});
  CHECK(prune("prune-1", {ids[3]}) == Names{"one", "two"});
  CHECK(cluster.network("other").getNetwork().getName() == "other");
  CHECK(prune("prune-2", {ids[0]}).empty());
}

TEST_CASE("networks: one that is inspected shows who is on it", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net");
  cluster.create(NetworkFixture::on("net", 2));
  auto global = NetworkFixture::on("net", 0, "agent");
  global.more = [more = global.more](schema::ServiceSpec::Builder it) {
    more(it);
    it.getMode().setGlobal();
    it.initEndpoint().setMode(schema::EndpointSpec::Mode::DNSRR);
  };
  cluster.create(global);
  cluster.create({"plain", 1});
  cluster.settle();
  auto answer = cluster.network("net");
  auto services = answer.getNetwork().getServices();
  REQUIRE(services.size() == 2);
  CHECK(services[0].getName() == "agent");
  CHECK(services[0].getAddress() == "");
  CHECK(services[1].getName() == "web");
  CHECK(services[1].getAddress() == cluster.virtualAddress().c_str());
  CHECK(services[1].getAliases()[0] == "db");
  auto tasks = answer.getNetwork().getTasks();
  REQUIRE(tasks.size() == 4);
  std::vector<std::string> names, addresses;
  for (auto task : tasks) {
    names.push_back(task.getName().cStr());
    addresses.push_back(task.getAddress().cStr());
    CHECK_THAT(task.getNode().cStr(), Catch::StartsWith("host-node"));
  }
  CHECK(names ==
        std::vector<std::string>{"agent.host-node1", "agent.host-node2", "web.1", "web.2"});
  CHECK(std::vector(addresses.begin() + 2, addresses.end()) == cluster.addresses());
  CHECK(cluster.network("bridge").getNetwork().getServices()[0].getName() == "plain");
  CHECK(cluster.network("bridge").getNetwork().getTasks()[0].getName() == "plain.1");
  // All networks at once are told without.
  auto listed = cluster.control.networksRequest().send().wait(cluster.world.waitScope());
  for (auto network : listed.getNetworks()) CHECK(network.getTasks().size() == 0);

  cluster.TestCluster::remove("agent");
  cluster.TestCluster::remove("web");
  cluster.advance(20 * kj::SECONDS);
  CHECK(cluster.network("net").getNetwork().getServices().size() == 0);
  CHECK(cluster.network("net").getNetwork().getTasks().size() == 0);
}

TEST_CASE("networks: a leg says whether its network is internal", "[manager]") {
  NetworkFixture cluster;
  cluster.make("inside", [](auto it) { it.setInternal(true); });
  cluster.make("outside");
  CHECK(cluster.network("inside").getNetwork().getInternal());
  CHECK_FALSE(cluster.network("outside").getNetwork().getInternal());
  Spec spec{"web", 1};
  spec.more = [](schema::ServiceSpec::Builder it) {
    auto list = it.getTask().initNetworks(2);
    list[0].setName("inside");
    list[1].setName("outside");
  };
  cluster.create(spec);
  // Published ports answer there, as they do in swarm mode.
  auto published = NetworkFixture::on("inside", 1, "port");
  published.more = [more = published.more](schema::ServiceSpec::Builder it) {
    more(it);
    it.initEndpoint().initPorts(1)[0].setTarget(80);
  };
  cluster.create(published);
  cluster.settle();
  auto listed = cluster.tasks("web");
  auto legs = listed.getTasks()[0].getLegs();
  REQUIRE(legs.size() == 2);
  CHECK(legs[0].getInternal());
  CHECK_FALSE(legs[1].getInternal());
  CHECK(cluster.states("port") == "running");
}

TEST_CASE("networks: a task of several has a leg in each", "[manager]") {
  NetworkFixture cluster;
  cluster.make("front");
  cluster.make("back");
  Spec spec{"web", 1};
  spec.more = [](schema::ServiceSpec::Builder it) {
    auto list = it.getTask().initNetworks(2);
    list[0].setName("front");
    list[1].setName("back");
  };
  cluster.create(spec);
  cluster.settle();
  CHECK(cluster.addresses().size() == 2);
  CHECK((cluster.one->networks.size() == 2 || cluster.two->networks.size() == 2));
}

TEST_CASE("networks: a port that a host does not answer on is named with the host", "[manager]") {
  NetworkFixture cluster;
  Spec spec{"web", 1};
  spec.more = [](schema::ServiceSpec::Builder it) {
    auto port = it.initEndpoint().initPorts(1)[0];
    port.setTarget(80);
    port.setPublished(8080);
  };
  cluster.create(spec);
  auto& three = cluster.addNode("node3");
  three.unanswered = {"8080/tcp: another program listens on it", "8080/udp: the same",
                      "99/tcp: so"};
  three.open();
  cluster.settle();
  auto progress = cluster.progress("web");
  auto said = progress.getProgress().getUnanswered();
  REQUIRE(said.size() == 1);
  CHECK(said[0] == "port 8080/tcp is not answered on host-node3: another program listens on it");
  auto request = cluster.control.nodeRequest();
  request.setId("node3");
  auto node = request.send().wait(cluster.world.waitScope());
  REQUIRE(node.getNode().getProblems().size() == 3);
  CHECK(node.getNode().getProblems()[2] ==
        "port 99/tcp of services on other nodes is not answered here: so");
}

}  // namespace
}  // namespace orch::control::manager
