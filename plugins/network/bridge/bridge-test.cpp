// Tasks' namespaces: made, connected, kept over a crash, gone without a trace.
#include <catch2/catch.hpp>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#include <filesystem>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "node-test.h"
#include "wiring.h"

namespace orch::network::bridge {
namespace {

std::vector<std::string> filesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

TEST_CASE("network: a task reaches the gateway, and the node reaches it",
          "[network][root][netns]") {
  TestNode node("reach");
  node.run();
  auto one = node.attach("one");
  auto two = node.attach("two");
  CHECK(one.address == "172.30.0.2");
  CHECK(two.address == "172.30.0.3");
  CHECK(reaches(one.path, "", "172.30.0.1"));
  CHECK(reaches("", two.path, two.address));
}

TEST_CASE("network: a task reaches other hosts, which see the node", "[network][root][netns]") {
  TestNode node("leave");
  node.run();
  OtherHost other(node.folder());
  auto task = node.attach("one");
  auto server = serverIn(other.path(), 80);
  auto client = socketIn(task.path, false);
  REQUIRE(connectTo(client, OTHER_ADDRESS, 80) == 0);
  REQUIRE(readyOf({server}) == 0);
  auto peer = acceptFrom(server);
  CHECK(peer.address == NODE_ADDRESS);
  CHECK(talk(client, peer.fd));
}

TEST_CASE("network: the device of a task that is gone goes, whatever its last words wait for",
          "[network][root][netns]") {
  TestNode node("words");
  node.run();
  auto one = node.attach("one");
  auto two = node.attach("two");
  auto device = node.layout().deviceOf("one");
  {
    auto server = serverIn(one.path, 80);
    auto client = socketIn(two.path, false);
    REQUIRE(connectTo(client, one.address, 80) == 0);
    REQUIRE(readyOf({server}) == 0);
    auto peer = acceptFrom(server);
    inNamespace(two.path.c_str(), [] {
      Rtnetlink net;
      net.run(deleteLink(net.link("eth0")->index));
    });
    REQUIRE(send(peer.fd, "last", 4, 0) == 4);
  }
  // The kernel goes on sending them, from a namespace that has no process any more.
  node.detach("one");
  node.pass("the device is gone", [&] { return !Rtnetlink().link(device.c_str()); });
  CHECK(node.logLines().empty());
}

TEST_CASE("network: stop without a task leaves nothing", "[network][root][netns]") {
  TestNode node("nothing");
  node.run();
  node.attach("one");
  node.detach("one");
  CHECK(Rtnetlink().link("orch0").has_value());
  node.stop();
  CHECK_FALSE(Rtnetlink().link("orch0").has_value());
  CHECK_FALSE(nftTableExists("orch"));
}

TEST_CASE("network: stop with a task keeps everything", "[network][root][netns]") {
  TestNode node("stop");
  node.run();
  auto task = node.attach("one");
  node.stop();
  node.crash();
  CHECK(nftTableExists("orch"));
  CHECK(reaches("", task.path, task.address));
}

TEST_CASE("network: a pool without a free address says which, and what to do",
          "[network][root][netns]") {
  TestNode node("pool", "172.30.5.0/29");
  node.run();
  CHECK(node.total() == 5);
  for (int i = 0; i < 5; ++i) node.attach("task" + std::to_string(i));
  CHECK(errorOf([&] { node.attach("sixth"); }) ==
        "no address is left on the network 'bridge': all 5 of its pool 172.30.5.0/29 are in use; "
        "remove tasks from this node, or set a wider 'subnet'");
}

TEST_CASE("network: a task whose namespace is gone is not kept", "[network][root][netns]") {
  TestNode node("lost");
  node.run();
  auto one = node.attach("one");
  node.attach("two");
  node.crash();
  dropPin(one.path.c_str());
  node.run();
  auto kept = node.retain({"one", "two"});
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].taskId == "two");
  CHECK(node.attach("one").taskId == "one");
}

TEST_CASE("network: a run that ended anywhere in an attach leaves nothing behind",
          "[network][root][netns]") {
  TestNode node("torn");
  node.run();
  node.attach("whole");
  node.crash();
  auto layout = node.layout();
  // What there is after each step: a record alone, a file without a namespace, a namespace without
  // a record, a record that is damaged.
  writeRecord(layout.records(), {"recorded", *parseIpv4("172.30.0.9")});
  std::filesystem::copy_file(layout.recordOf("whole"), layout.pinOf("file"));
  makeNamespace(layout.pinOf("pinned").c_str());
  std::filesystem::copy_file(layout.pinOf("file"), layout.recordOf("damaged"));
  std::filesystem::resize_file(layout.recordOf("damaged"), 30);
  node.run();
  CHECK(node.retain({"whole", "recorded", "damaged"}).size() == 1);
  CHECK(filesIn(layout.pins()) == std::vector<std::string>{"whole"});
  CHECK(filesIn(layout.records()) == std::vector<std::string>{"whole"});
  CHECK(node.used() == 1);
}

TEST_CASE("network: a bridge that somebody removed comes back with its tasks",
          "[network][root][netns]") {
  TestNode node("bridge");
  node.run();
  auto one = node.attach("one");
  node.crash();
  Rtnetlink net;
  net.run(deleteLink(net.link("orch0")->index));
  node.run();
  CHECK(node.retain({"one"}).size() == 1);
  CHECK(reaches("", one.path, one.address));
}

TEST_CASE("network: a subnet that the node uses elsewhere is refused by name",
          "[network][root][netns]") {
  TestNode node("overlap", "192.168.0.0/16");
  {
    OtherHost other(node.folder());
    CHECK(errorOf([&] { node.run(); }) ==
          "the network 'bridge' cannot use the subnet 192.168.0.0/16: the node has a route to "
          "192.168.50.0/24 by 'wire'; set 'subnet' of the plugin to one that is free");
  }
  Rtnetlink net;
  auto wire = net.link("wire");
  if (wire) net.run(deleteLink(wire->index));
}

TEST_CASE("network: rules that somebody flushed are there again in time, and an event says so",
          "[network][root][netns]") {
  TestNode node("flushed");
  node.run();
  auto one = node.attach("one");
  NetlinkSocket socket(NETLINK_NETFILTER);
  auto whole = [&] { return nftIsWhole(socket, "orch", {"guard", "forward", "postrouting"}); };
  REQUIRE(whole());
  for (size_t turn = 1; turn <= 3; ++turn) {
    NftBatch flush("orch");
    if (turn == 1) flush.addTable().deleteTable();
    if (turn == 2) flush.deleteRules("guard").deleteRules("forward").deleteRules("postrouting");
    if (turn == 3) flush.deleteRules("postrouting");
    flush.commit();
    node.pass("the rules", whole);
    node.pass("what was said", [&] { return node.events().size() == turn; });
    CHECK(node.events().back() == "rules.restored");
    CHECK(node.logLines() == std::vector<std::string>(turn, "warn network.table-rebuilt"));
  }
  OtherHost other(node.folder());
  auto server = serverIn(other.path(), 80);
  auto client = socketIn(one.path, false);
  CHECK(connectTo(client, OTHER_ADDRESS, 80) == 0);
}

uint16_t checksum(const uint8_t* bytes, size_t size) {
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i += 2) sum += bytes[i] << 8 | bytes[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

// One UDP packet of one byte out of the task's device as it is, whatever routes there are.
void sendFrame(const End& task, kj::StringPtr source, kj::StringPtr destination, uint16_t port,
               const char* text) {
  std::vector<uint8_t> frame;
  auto add = [&](std::initializer_list<unsigned> bytes) {
    for (unsigned byte : bytes) frame.push_back(byte);
  };
  auto address = [&](Ipv4 a) { add({a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255}); };
  for (auto byte : macOf(*parseIpv4("172.30.0.1"))) frame.push_back(byte);
  for (auto byte : macOf(*parseIpv4(task.address.c_str()))) frame.push_back(byte);
  add({8, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, IPPROTO_UDP, 0, 0});
  address(*parseIpv4(source));
  address(*parseIpv4(destination));
  uint16_t sum = checksum(frame.data() + 14, 20);
  frame[24] = sum >> 8;
  frame[25] = sum & 255;
  add({0x30, 0x39, port / 256u, port % 256u, 0, 9, 0, 0, uint8_t(text[0])});
  inNamespace(task.path.c_str(), [&] {
    int fd;
    KJ_SYSCALL(fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    kj::AutoCloseFd owned(fd);
    sockaddr_ll to = {};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = Rtnetlink().link("eth0")->index;
    KJ_SYSCALL(
        sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)));
  });
}

TEST_CASE("network: other hosts cannot reach a task by its own address", "[network][root][netns]") {
  TestNode node("closed");
  node.run();
  OtherHost other(node.folder());
  auto one = node.attach("one");
  auto known = serverIn("", 80);
  auto hidden = serverIn(one.path, 81);
  inNamespace(other.path().c_str(), [&] {
    Rtnetlink net;
    net.run(newDefaultRoute(net.link("wire")->index, *parseIpv4(NODE_ADDRESS)));
  });
  auto direct = socketIn(other.path(), false);
  fcntl(direct, F_SETFL, O_NONBLOCK);
  CHECK(connectTo(direct, one.address, 81) == EINPROGRESS);
  // Packets do not overtake each other: what comes after it comes first.
  auto client = socketIn(other.path(), false);
  CHECK(connectTo(client, NODE_ADDRESS, 80) == 0);
  CHECK(readyOf({hidden, known}) == 1);
}

TEST_CASE("network: a task does not get at the node's loopback", "[network][root][netns]") {
  TestNode node("loopback");
  node.run();
  auto one = node.attach("one");
  auto server = serverIn("", 9000, true);
  sendFrame(one, "172.30.0.2", "127.0.0.1", 9000, "1");
  sendFrame(one, "127.0.0.1", "172.30.0.1", 9000, "2");
  sendFrame(one, "172.30.0.2", "172.30.0.1", 9000, "3");
  REQUIRE(readyOf({server}) == 0);
  char text[2] = {};
  CHECK(recv(server, text, 1, 0) == 1);
  CHECK(std::string(text) == "3");
}

}  // namespace
}  // namespace orch::network::bridge
