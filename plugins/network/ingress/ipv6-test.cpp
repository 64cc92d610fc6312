// Published ports by IPv6, as one node leads them; e2e.ipv6 has several.
#include <catch2/catch.hpp>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "node-test.h"
#include "port-table.h"

namespace orch::network::ingress {
namespace {

using Lines = std::vector<std::string>;

kj::AutoCloseFd tcpIn(const std::string& path) { return socketIn(path, false, true); }
kj::AutoCloseFd udpIn(const std::string& path) { return socketIn(path, true, true); }

TEST_CASE("ingress: a published port answers by IPv6, with the client's address",
          "[network][root][netns]") {
  TestNode node("six");
  node.run();
  OtherHost host(node.folder());
  auto one = node.publishActive("one", {{80, 8080}, {53, 5353, true}});
  auto tcp = serverIn(one.path, 80, false, true);
  auto udp = serverIn(one.path, 53, true, true);
  auto client = tcpIn(host.path());
  REQUIRE(connectTo(client, NODE_ADDRESS6, 8080) == 0);
  REQUIRE(readyOf({tcp}) == 0);
  auto peer = acceptFrom(tcp);
  CHECK(peer.address == OTHER_ADDRESS6);
  CHECK(talk(client, peer.fd));
  auto asking = udpIn(host.path());
  REQUIRE(connectTo(asking, NODE_ADDRESS6, 5353) == 0);
  auto asked = askUdp(asking, {udp});
  CHECK(asked.server == 0);
  CHECK(asked.address == OTHER_ADDRESS6);
  CHECK(node.check() == Lines{});
  // The node itself, another task, and the task by its own port.
  auto two = node.publish("two");
  for (auto& path : {std::string(), two.path, one.path}) {
    auto socket = tcpIn(path);
    REQUIRE(connectTo(socket, NODE_ADDRESS6, 8080) == 0);
    REQUIRE(readyOf({tcp}) == 0);
    CHECK(talk(socket, acceptFrom(tcp).fd));
  }
}

TEST_CASE("ingress: a port without an active task refuses at once by IPv6",
          "[network][root][netns]") {
  TestNode node("six-refused");
  node.run();
  OtherHost host(node.folder());
  auto one = node.publishActive("one", {{80, 8080}, {53, 5353, true}});
  auto udp = serverIn(one.path, 53, true, true);
  auto asking = udpIn(host.path());
  REQUIRE(connectTo(asking, NODE_ADDRESS6, 5353) == 0);
  CHECK(askUdp(asking, {udp}).server == 0);
  node.deactivate("one");
  CHECK(connectTo(tcpIn(host.path()), NODE_ADDRESS6, 8080) == ECONNREFUSED);
  REQUIRE(send(asking, "hello", 5, 0) == 5);
  char text[8];
  CHECK(recv(asking, text, sizeof(text), 0) < 0);
  CHECK(errno == ECONNREFUSED);
  // Who asked in vain is led on with his next packet.
  node.activate("one");
  CHECK(askUdp(asking, {udp}).server == 0);
  CHECK_THROWS(serverIn("", 8080, false, true));  // the port is held
  node.withdraw("one");
  CHECK_NOTHROW(serverIn("", 8080, false, true));
}

TEST_CASE("ingress: tasks of this node and of others take turns by IPv6",
          "[network][root][netns]") {
  TestNode node("six-turns");
  node.run();
  OtherHost host(node.folder());
  auto one = node.publishActive("one", {{80, 8080}});
  auto server = serverIn(one.path, 80, false, true);
  node.tell(NODE_ADDRESS, {other(1)});
  CHECK(node.check() == Lines{});
  // The other turn goes to a node that answers nothing.
  std::vector<kj::AutoCloseFd> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(tcpIn(host.path()));
    fcntl(clients.back(), F_SETFL, O_NONBLOCK);
    CHECK(connectTo(clients.back(), NODE_ADDRESS6, 8080) == EINPROGRESS);
  }
  for (int i = 0; i < 2; ++i) {
    REQUIRE(readyOf({server}) == 0);
    CHECK(acceptFrom(server).address == OTHER_ADDRESS6);
  }
  node.tell(NODE_ADDRESS, {}, {"n2"});
  auto last = tcpIn(host.path());
  REQUIRE(connectTo(last, NODE_ADDRESS6, 8080) == 0);
  CHECK(readyOf({server}) == 0);
}

TEST_CASE("ingress: what leads by IPv6 is found lacking, and put in place again",
          "[network][root][netns]") {
  TestNode node("six-check");
  node.run();
  OtherHost host(node.folder());
  node.publishActive("one", {{80, 8080}});
  node.tell(NODE_ADDRESS, {other(1)});
  REQUIRE(node.check() == Lines{});
  Rtnetlink net;
  auto own = meshAddressOf(*parseIpv4(NODE_ADDRESS));
  net.run(deleteAddress(Address6{net.link("orch-mesh")->index, own, 96}));
  net.run(deleteMarkRule(0x6f726368, 0x6f72, true));
  NftBatch("orch-ingress", NftFamily::IP6).deleteRules("tcp-8080").commit();
  Lines lacking{"table ip6 orch-ingress: chain tcp-8080: 1 rule, found 0 rules",
                "address fd6f:7263:6801::c0a8:320a of orch-mesh: present, found nothing",
                "IPv6 rule for table 28530: present, found nothing"};
  CHECK(node.check() == lacking);
  for (auto& line : lacking) line += " repaired";
  CHECK(node.repair() == lacking);
  CHECK(node.check() == Lines{});
}

}  // namespace
}  // namespace orch::network::ingress
