// What the next orchd finds, and what one leaves behind.
#include <catch2/catch.hpp>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/conntrack.h"
#include "lib/nft-batch.h"
#include "lib/record-files.h"
#include "lib/rtnetlink.h"
#include "mesh.h"
#include "node-test.h"
#include "others.h"
#include "publication.h"

namespace orch::network::ingress {
namespace {

// Connections that a rule has led on.
size_t ledByUdp() {
  NetlinkSocket socket(NETLINK_NETFILTER);
  size_t count = 0;
  forgetStrays(socket, [&](const LedFlow& flow) {
    count += flow.protocol == IPPROTO_UDP;
    return false;
  });
  return count;
}

TEST_CASE("ingress: the next orchd leads to other nodes before it is told of them",
          "[network][root][netns]") {
  TestNode node("untold");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  auto device = Rtnetlink().link("orch-mesh")->index;
  node.crash();
  CHECK(isLed(node, "tcp-8080"));
  CHECK_NOTHROW(serverIn("", 8080));
  node.run();
  CHECK(isLed(node, "tcp-8080"));
  CHECK(Rtnetlink().link("orch-mesh")->index == device);
  CHECK_THROWS(serverIn("", 8080));

  node.tell(NODE_ADDRESS, {}, {}, true);
  CHECK_FALSE(isLed(node, "tcp-8080"));
  CHECK_NOTHROW(serverIn("", 8080));
  node.crash();
  node.run();
  CHECK_FALSE(isLed(node, "tcp-8080"));
}

TEST_CASE("ingress: a damaged record of another node is told of and done without",
          "[network][root][netns]") {
  TestNode node("damaged");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1), {"n3", "192.168.50.101", {{9090, 1}}}});
  node.crash();
  writeRecordFile(node.layout().others(), "n2", "orch-mesh-node 1\naddress");
  node.run();
  CHECK(node.logLines() == std::vector<std::string>{"warn network.record-unusable"});
  CHECK_FALSE(isLed(node, "tcp-8080"));
  CHECK(isLed(node, "tcp-9090"));
  node.tell(NODE_ADDRESS, {other(1)});
  CHECK(isLed(node, "tcp-8080"));

  node.crash();
  writeRecordFile(node.layout().mesh(), "self", "");
  node.run();
  CHECK(node.logLines().size() == 2);
  CHECK_FALSE(isLed(node, "tcp-8080"));
  node.tell(NODE_ADDRESS, {other(1)});
  CHECK(isLed(node, "tcp-8080"));
}

TEST_CASE("ingress: an orchd that stops leaves what leads to tasks of this node or of others",
          "[network][root][netns]") {
  TestNode node("stops");
  node.run();
  OtherHost host(node.folder());
  auto one = node.publishActive("one", {{80, 8080}});
  auto server = serverIn(one.path, 80);
  node.tell(NODE_ADDRESS, {other(1)});
  node.withdraw("one");
  node.stop();
  CHECK(Rtnetlink().link("orch-mesh"));
  CHECK(isLed(node, "tcp-8080"));
  node.crash();

  node.run();
  CHECK(isLed(node, "tcp-8080"));
  node.tell(NODE_ADDRESS, {other(0)});
  node.stop();
  CHECK_FALSE(Rtnetlink().link("orch-mesh"));
  CHECK_FALSE(nftTableExists("orch-ingress"));
}

bool nothingLeft() {
  Rtnetlink net;
  return !net.link("orch-mesh") && !nftTableExists("orch-ingress") &&
         !nftTableExists("orch-ingress", NftFamily::NETDEV);
}
bool hasMesh() { return Rtnetlink().link("orch-mesh").has_value(); }

TEST_CASE("ingress: a node where nothing is published has nothing, and all again with the first",
          "[network][root][netns]") {
  TestNode node("nothing");
  node.run();
  OtherHost host(node.folder());
  node.retain({});
  node.tell(NODE_ADDRESS, {}, {}, true);
  CHECK(nothingLeft());
  for (int round = 0; round < 2; ++round) {
    // Others lead to it by the mesh: there it is before the task is active.
    node.publish("one", {{80, 8080}});
    CHECK(hasMesh());
    CHECK(nftTableExists("orch-ingress"));
    node.withdraw("one");
    CHECK_NOTHROW(serverIn("", 8080));
    node.pass("nothing is left", nothingLeft);

    node.tell(NODE_ADDRESS, {other(1)});
    CHECK(hasMesh());
    CHECK(isLed(node, "tcp-8080"));
    node.tell(NODE_ADDRESS, {other(0)});
    node.pass("nothing is left", nothingLeft);
  }
  CHECK(Rtnetlink().attempt(deleteMarkRule(MESH_MARK, MESH_TABLE)) == ENOENT);
  CHECK(node.logLines().empty());
}

TEST_CASE("ingress: what an orchd that was killed has left is taken away if nobody needs it",
          "[network][root][netns]") {
  TestNode node("left");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  node.crash();
  removeRecordFile(node.layout().others(), "n2");
  node.run();
  node.pass("nothing is left", nothingLeft);
}

TEST_CASE(
    "ingress: who was led to a task of this node that ports led no more to when orchd was "
    "killed is led elsewhere",
    "[network][root][netns]") {
  TestNode node("stray");
  node.run();
  OtherHost host(node.folder());
  std::vector<End> ends;
  std::vector<kj::AutoCloseFd> servers;
  for (auto name : {"one", "two"}) {
    ends.push_back(node.publishActive(name, {{53, 5353, true}}));
    servers.push_back(serverIn(ends.back().path, 53, true));
  }
  auto client = socketIn(host.path(), true);
  REQUIRE(connectTo(client, NODE_ADDRESS, 5353) == 0);
  std::vector<int> fds{servers[0], servers[1]};
  int first = askUdp(client, fds).server;
  REQUIRE(first >= 0);
  CHECK(askUdp(client, fds).server == first);
  // It has written down that it leads nobody there, and nothing more.
  node.crash();
  auto folder = node.layout().records();
  auto name = ends[first].taskId;
  auto records = readPublications(folder).whole;
  REQUIRE(records.size() == 2);
  for (auto& record : records) {
    if (record.taskId != name) continue;
    record.active = false;
    writeRecordFile(folder, name, encodePublication(record));
  }
  node.run();
  node.deactivate(name);
  CHECK(askUdp(client, fds).server == 1 - first);
}

TEST_CASE(
    "ingress: who was led to a node that ports led no more to when orchd was killed is "
    "forgotten",
    "[network][root][netns]") {
  TestNode node("stray-node");
  node.run();
  OtherHost host(node.folder());
  auto here = other(0);
  here.tcp = {{8080, 1}};
  here.udp = {{5353, 1}};
  node.tell(NODE_ADDRESS, {here});
  auto client = socketIn("", true);
  REQUIRE(connectTo(client, "127.0.0.1", 5353) == 0);
  CHECK(send(client, "hello", 5, 0) == 5);
  node.crash();
  node.run();
  CHECK(ledByUdp() == 1);
  node.crash();
  OtherNode left{*parseIpv4(OTHER_ADDRESS), {{{IPPROTO_TCP, 8080}, 1}}};
  writeRecordFile(node.layout().others(), "n2", encodeNode(left));
  node.run();
  CHECK(ledByUdp() == 0);
}

TEST_CASE("ingress: the mesh stays until connections to nodes without tasks are over",
          "[network][root][netns]") {
  TestNode node("open");
  node.run();
  OtherHost host(node.folder());
  node.tell(NODE_ADDRESS, {other(1)});
  auto client = socketIn(host.path(), false);
  fcntl(client, F_SETFL, O_NONBLOCK);
  CHECK(connectTo(client, NODE_ADDRESS, 8080) == EINPROGRESS);
  NetlinkSocket socket(NETLINK_NETFILTER);
  Ipv4 there = *parseIpv4(OTHER_ADDRESS);
  node.pass("the connection", [&] { return anyOpen(socket, {there}); });
  node.tell(NODE_ADDRESS, {other(0)});
  int looks = 0;
  node.pass("some looks", [&] { return ++looks == 20; });
  CHECK(hasMesh());
  CHECK(nftTableExists("orch-ingress"));
  node.stop();
  CHECK(hasMesh());
  node.crash();
  node.run();
  CHECK(hasMesh());
  CHECK(forgetFlows(socket, {{there, 0, true}}) == 1);
  CHECK_FALSE(anyOpen(socket, {there}));
  node.pass("nothing is left", nothingLeft);
}

}  // namespace
}  // namespace orch::network::ingress
