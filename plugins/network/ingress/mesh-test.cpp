// Other nodes' part of published ports, as one node does it; e2e.mesh has several.
#include "mesh.h"

#include <catch2/catch.hpp>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "lib/conntrack.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "node-test.h"
#include "orch/attempt.h"

namespace orch::network::ingress {
namespace {

TEST_CASE("ingress: a port of another node is held and led there", "[network][root][netns]") {
  TestNode node("led");
  node.run();
  OtherHost host(node.folder());
  CHECK(node.tell(NODE_ADDRESS, {other(2)}).empty());
  auto device = Rtnetlink().link("orch-mesh");
  REQUIRE(device);
  CHECK(device->up);
  CHECK(device->mtu == 1450);
  CHECK(device->mac == macOf(*parseIpv4(NODE_ADDRESS)));
  auto known = Rtnetlink().remoteMacs();
  REQUIRE(known.size() == 1);
  CHECK(known[0].host == *parseIpv4(OTHER_ADDRESS));
  CHECK_THROWS(serverIn("", 8080));

  CHECK(node.tell(NODE_ADDRESS, {}, {"n2"}).empty());
  CHECK_NOTHROW(serverIn("", 8080));
  node.stop();
  CHECK_FALSE(Rtnetlink().link("orch-mesh"));
  CHECK_FALSE(nftTableExists("orch-ingress"));
}

TEST_CASE("ingress: tasks of this node and of others take turns", "[network][root][netns]") {
  TestNode node("turns");
  node.run();
  OtherHost host(node.folder());
  auto one = node.publishActive("one", {{80, 8080}});
  auto server = serverIn(one.path, 80);
  node.tell(NODE_ADDRESS, {other(1)});
  // The other turn goes to a node that answers nothing.
  std::vector<kj::AutoCloseFd> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(socketIn(host.path(), false));
    fcntl(clients.back(), F_SETFL, O_NONBLOCK);
    CHECK(connectTo(clients.back(), NODE_ADDRESS, 8080) == EINPROGRESS);
  }
  for (int i = 0; i < 2; ++i) {
    REQUIRE(readyOf({server}) == 0);
    CHECK(acceptFrom(server).address == OTHER_ADDRESS);
  }
  node.tell(NODE_ADDRESS, {}, {"n2"});
  auto last = socketIn(host.path(), false);
  REQUIRE(connectTo(last, NODE_ADDRESS, 8080) == 0);
  CHECK(readyOf({server}) == 0);
}

TEST_CASE("ingress: packets that carry frames are not tracked", "[network][root][netns]") {
  TestNode node("carry");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  auto server = serverIn("", 81);
  auto farServer = serverIn(host.path(), 81);
  auto pass = [](const std::string& from, const char* to) {
    auto carrier = socketIn(from, true);
    REQUIRE(connectTo(carrier, to, 4789) == 0);
    REQUIRE(send(carrier, "frame", 5, 0) == 5);
    REQUIRE(connectTo(socketIn(from), to, 81) == 0);
  };
  pass(host.path(), NODE_ADDRESS);
  pass("", OTHER_ADDRESS);
  std::ifstream file("/proc/thread-self/net/nf_conntrack");
  std::string tracked(std::istreambuf_iterator<char>(file), {});
  INFO(tracked);
  for (auto to : {NODE_ADDRESS, OTHER_ADDRESS}) {
    CHECK(tracked.find("dst=" + std::string(to)) != std::string::npos);
  }
  CHECK(tracked.find("dport=4789") == std::string::npos);
}

TEST_CASE("ingress: a port that a program of this node has is told of and left to it",
          "[network][root][netns]") {
  TestNode node("untaken");
  node.run();
  OtherHost host(node.folder());
  auto program = serverIn("", 8080);
  CHECK(node.tell(NODE_ADDRESS, {other(1)}) ==
        std::vector<std::string>{"8080/tcp: another program listens on it"});
  auto client = socketIn(host.path(), false);
  REQUIRE(connectTo(client, NODE_ADDRESS, 8080) == 0);
  CHECK(readyOf({program}) == 0);
  program = nullptr;
  client = nullptr;
  CHECK(node.tell(NODE_ADDRESS, {other(1)}).empty());
  CHECK_THROWS(serverIn("", 8080));
}

TEST_CASE("ingress: a port that a program had is answered on once it is free",
          "[network][root][netns]") {
  TestNode node("freed");
  node.run();
  OtherHost host(node.folder());
  auto program = serverIn("", 8080);
  CHECK(node.tell(NODE_ADDRESS, {other(1)}).size() == 1);
  bool looked = false;
  node.pass("a look", [&] { return std::exchange(looked, true); });
  CHECK_NOTHROW(node.tell(NODE_ADDRESS, {}, {}));
  CHECK_FALSE(isLed(node, "tcp-8080"));
  program = nullptr;
  node.pass("the port", [&] { return isLed(node, "tcp-8080"); });
  // What listens in place of the program comes after the rules that lead past it.
  node.pass("the socket", [&] { return !attemptNow([&] { serverIn("", 8080); }).ok(); });
  CHECK(node.tell(NODE_ADDRESS, {other(1)}).empty());
}

TEST_CASE("ingress: a task's port that a program took while orchd was away is held once it is free",
          "[network][root][netns]") {
  TestNode node("held-again");
  node.run();
  node.publishActive("one", {{80, 8080}, {53, 5353, true}});
  node.crash();
  auto tcp = serverIn("", 8080);
  auto udp = serverIn("", 5353, true);
  node.run();
  CHECK(node.logLines().size() == 2);
  tcp = nullptr;
  udp = nullptr;
  auto held = [](uint16_t port, bool udp) {
    return !attemptNow([&] { serverIn("", port, udp); }).ok();
  };
  node.pass("the ports", [&] { return held(8080, false) && held(5353, true); });
  node.withdraw("one");
  CHECK_NOTHROW(serverIn("", 8080));
}

TEST_CASE("ingress: the next orchd is told anew, and the mesh stands meanwhile",
          "[network][root][netns]") {
  TestNode node("stands");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  auto before = Rtnetlink().link("orch-mesh")->index;
  node.crash();
  node.run();
  CHECK(node.tell(NODE_ADDRESS, {other(2)}, {}, true).empty());
  CHECK(Rtnetlink().link("orch-mesh")->index == before);
}

bool hasRule() { return Rtnetlink().attempt(newMarkRule(MESH_MARK, MESH_TABLE)) == EEXIST; }
bool hasEgress(const TestNode& node) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  auto chains = nftChains(socket, node.layout().table.c_str(), NftFamily::NETDEV);
  return chains == std::vector<std::string>{"egress"};
}
// A connection by the node's port that is led to the host beside it, which does not answer.
void beginConnection(TestNode& node, const OtherHost& from) {
  auto client = socketIn(from.path(), false);
  fcntl(client, F_SETFL, O_NONBLOCK);
  REQUIRE(connectTo(client, NODE_ADDRESS, 8080) == EINPROGRESS);
  NetlinkSocket socket(NETLINK_NETFILTER);
  node.pass("the connection", [&] { return anyOpen(socket, {*parseIpv4(OTHER_ADDRESS)}); });
}
bool isForgotten() {
  NetlinkSocket socket(NETLINK_NETFILTER);
  return !anyOpen(socket, {*parseIpv4(OTHER_ADDRESS)});
}

TEST_CASE("ingress: a node that gets another address makes the mesh anew",
          "[network][root][netns]") {
  constexpr const char* MOVED = "192.168.50.11";
  TestNode node("moved");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  beginConnection(node, host);
  Rtnetlink net;
  auto before = net.link("orch-mesh")->index;
  net.run(newAddress(net.link("wire")->index, *parseIpv4(MOVED), 24));
  node.tell(MOVED, {other(1)});
  auto device = net.link("orch-mesh");
  REQUIRE(device);
  CHECK(device->index != before);
  CHECK(device->vxlan.local == *parseIpv4(MOVED));
  CHECK(device->mac == macOf(*parseIpv4(MOVED)));
  CHECK(device->up);
  CHECK(net.remoteMacs().size() == 1);
  CHECK(isLed(node, "tcp-8080"));
  CHECK(hasEgress(node));
  // The other node would answer to the old address.
  CHECK(isForgotten());
  auto vxlans = net.links();
  CHECK(std::count_if(vxlans.begin(), vxlans.end(),
                      [](auto& link) { return link.kind == "vxlan"; }) == 1);
  // The next orchd finds it as it is.
  node.crash();
  node.run();
  CHECK(net.link("orch-mesh")->index == device->index);

  node.tell("", {});
  CHECK_FALSE(net.link("orch-mesh"));
  CHECK(net.attempt(deleteMarkRule(MESH_MARK, MESH_TABLE)) == ENOENT);
}

TEST_CASE("ingress: connections to a node that gets another address are forgotten",
          "[network][root][netns]") {
  TestNode node("other-moved");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  beginConnection(node, host);
  auto device = Rtnetlink().link("orch-mesh")->index;
  node.tell(NODE_ADDRESS, {{"n2", "192.168.50.101", {{8080, 1}}}});
  CHECK(isForgotten());
  std::set<HostAddress> met;
  for (auto& known : Rtnetlink().remoteMacs()) met.insert(known.host);
  CHECK(met.count(*parseIpv4("192.168.50.101")) == 1);
  CHECK(Rtnetlink().link("orch-mesh")->index == device);
}

void dropMesh() {
  Rtnetlink net;
  net.run(deleteLink(net.link("orch-mesh")->index));
  net.attempt(deleteMarkRule(MESH_MARK, MESH_TABLE));
}

TEST_CASE("ingress: a mesh that somebody took away is there again with the next news",
          "[network][root][netns]") {
  TestNode node("taken-away");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  dropMesh();
  node.tell(NODE_ADDRESS, {other(1)});
  Rtnetlink net;
  REQUIRE(net.link("orch-mesh"));
  CHECK(net.link("orch-mesh")->up);
  CHECK(net.remoteMacs().size() == 1);
  CHECK(hasRule());
  CHECK(hasEgress(node));
  std::vector<std::string> said{"warn network.mesh-made-again"};
  CHECK(node.logLines() == said);
  auto index = net.link("orch-mesh")->index;
  node.tell(NODE_ADDRESS, {other(2)});
  CHECK(net.link("orch-mesh")->index == index);
  CHECK(node.logLines() == said);
}

TEST_CASE("ingress: a mesh, its rule or the table that somebody took away is there again in time",
          "[network][root][netns]") {
  TestNode node("looked-at");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  Rtnetlink net;
  dropMesh();
  node.pass("the mesh", [&] { return !net.remoteMacs().empty(); });
  node.pass("what was said", [&] { return node.logLines().size() == 1; });
  CHECK(hasRule());
  CHECK(hasEgress(node));
  net.run(deleteMarkRule(MESH_MARK, MESH_TABLE));
  // To ask for the rule would set it: whoever says so has set it.
  node.pass("the rule", [&] { return node.logLines().size() == 2; });
  CHECK(hasRule());
  NftBatch("orch-ingress").addTable().deleteTable().commit();
  node.pass("the table", [] { return nftTableExists("orch-ingress"); });
  CHECK(node.logLines().back() == "warn network.table-rebuilt");
}

TEST_CASE("ingress: news that failed once are taken with the next, and that is the end of it",
          "[network][root][netns]") {
  TestNode node("failed");
  node.run();
  OtherHost host(node.folder());
  Rtnetlink net;
  net.run(newBridge("orch-mesh", macOf(1), 1500));
  CHECK(errorOf([&] { node.tell(NODE_ADDRESS, {other(1)}); }).find("it is no VXLAN device") !=
        std::string::npos);
  net.run(deleteLink(net.link("orch-mesh")->index));
  CHECK(node.tell(NODE_ADDRESS, {other(1)}, {}, true).empty());
  REQUIRE(net.link("orch-mesh"));
  auto index = net.link("orch-mesh")->index;
  auto handle = nftTableHandle("orch-ingress");
  node.tell(NODE_ADDRESS, {other(2)}, {}, true);
  CHECK(net.link("orch-mesh")->index == index);
  CHECK(nftTableHandle("orch-ingress") == handle);
  CHECK(node.logLines().empty());
}

}  // namespace
}  // namespace orch::network::ingress
