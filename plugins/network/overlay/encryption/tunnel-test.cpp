// Encrypted networks between two hosts, by WireGuard as it is here: what is on the wire, what gets
// in and what does not, what happens when one of the parts ends. Without any the tests say so and
// end.
#include "encryption/tunnel.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "encryption/guard.h"
#include "host-test.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"

namespace orch::network::overlay {
namespace {

const Net SECRET{"secret", 4097, "", true};
const Net OPEN{"open", 4098};
const Mate SECRET_ONE{"secret", "one", "web", "10.0.1.11", 0};
const Mate SECRET_TWO{"secret", "two", "web", "10.0.1.12", 1};
const Mate OPEN_ONE{"open", "one", "web", "10.0.1.11", 0};
const Mate OPEN_TWO{"open", "two", "web", "10.0.1.12", 1};
constexpr uint16_t DATA_PORT = 4789, ENCRYPTION_PORT = 51820;

// All frames that pass the wire between the hosts, while it lives.
class Capture final {
 public:
  explicit Capture(const World& world) {
    inNamespace((world.folder() + "/wire").c_str(), [&] {
      int fd;
      KJ_SYSCALL(
          fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
      socket = kj::AutoCloseFd(fd);
    });
  }
  // Reads what has passed.
  void read() {
    uint8_t frame[65536];
    for (;;) {
      auto n = recv(socket, frame, sizeof(frame), 0);
      if (n < 0) break;
      std::string text(reinterpret_cast<char*>(frame), n);
      bool said = text.find("hello") != text.npos || text.find("there") != text.npos;
      if (said) ++readable;
      uint16_t port = udpPortOf(text);
      if (port == DATA_PORT) ++bare;
      if (port == ENCRYPTION_PORT) ++encrypted;
      constexpr uint16_t MORE_AND_OFFSET = 0x3fff;  // of an IPv4 header: RFC 791
      if (at(text, 12) == ETH_P_IP && (at(text, 20) & MORE_AND_OFFSET) != 0) ++fragments;
    }
  }
  int readable = 0, bare = 0, encrypted = 0, fragments = 0;

 private:
  static uint16_t at(const std::string& frame, size_t offset) {
    if (offset + 2 > frame.size()) return 0;
    return uint16_t(uint8_t(frame[offset]) << 8 | uint8_t(frame[offset + 1]));
  }
  static uint16_t udpPortOf(const std::string& frame) {
    constexpr size_t HEADER = 14, PORT = 2;
    bool ipv4 = at(frame, 12) == ETH_P_IP && frame.size() > HEADER + 20 && frame[HEADER + 9] == 17;
    bool ipv6 =
        at(frame, 12) == ETH_P_IPV6 && frame.size() > HEADER + 40 && frame[HEADER + 6] == 17;
    return ipv4 ? at(frame, HEADER + 20 + PORT) : ipv6 ? at(frame, HEADER + 40 + PORT) : 0;
  }
  kj::AutoCloseFd socket;
};

// In the kernel, or in a process.
bool hasWireguard() {
  bool program = std::system("wireguard-go --version >/dev/null 2>&1") == 0;
  return kernelHasWireguard() || (program && access("/dev/net/tun", F_OK) == 0);
}

struct TunnelHosts {
  explicit TunnelHosts(kj::StringPtr name, testing::Isolation how = testing::Isolation::KERNEL)
      : world(name, 2, how) {
    world.shareKeys();
    world.tellAll({{SECRET}, {SECRET_ONE, SECRET_TWO}});
    world[0].plug("secret", "one", "10.0.1.11");
    world[1].plug("secret", "two", "10.0.1.12");
  }
  bool reachesTwo() { return reaches(world.task("one"), world.task("two"), "10.0.1.12"); }
  std::string tunnel(int host) { return world[host].layout().tunnel; }
  bool hasTunnel(int host) {
    bool there = false;
    world[host].inside([&] { there = tunnelThere(tunnel(host)) != TunnelBy::NOBODY; });
    return there;
  }
  void run(int host, const char* command) {
    world[host].inside([&] { KJ_REQUIRE(std::system(command) == 0, command); });
  }
  World world;
};

#define NEEDS_WIREGUARD                                                          \
  if (!hasWireguard()) {                                                         \
    WARN("skipped: there is no WireGuard; scripts/setup installs wireguard-go"); \
    return;                                                                      \
  }

TEST_CASE("tunnel: nothing of an encrypted network can be read on the wire",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("secret");
  Capture capture(here.world);
  CHECK(here.reachesTwo());
  CHECK(reaches(here.world.task("two"), here.world.task("one"), "10.0.1.11"));
  capture.read();
  CHECK(capture.encrypted > 10);
  CHECK(capture.readable == 0);
  CHECK(capture.bare == 0);
  // The same of another network is.
  here.world.tellAll({{SECRET, OPEN}, {SECRET_ONE, SECRET_TWO, OPEN_ONE, OPEN_TWO}});
  here.world[0].plug("open", "three", "10.0.1.11");
  here.world[1].plug("open", "four", "10.0.1.12");
  CHECK(reaches(here.world.task("three"), here.world.task("four"), "10.0.1.12"));
  capture.read();
  CHECK(capture.readable > 0);
  CHECK(capture.bare > 0);
  CHECK(here.world[0].warnings().empty());
}

TEST_CASE("tunnel: a packet as large as the network's MTU passes in one of the wire's",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-mtu");
  inNamespace(here.world.task("one").c_str(), [] { CHECK(Rtnetlink().link("eth1")->mtu == 1370); });
  auto server = serverIn(here.world.task("two"), 53, true);
  auto client = socketIn(here.world.task("one"), true);
  REQUIRE(here.reachesTwo());
  REQUIRE(connectTo(client, "10.0.1.12", 53) == 0);
  int whole = IP_PMTUDISC_DO;
  KJ_SYSCALL(setsockopt(client, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole)));
  std::string text(1370 - 28, 'x');
  Capture capture(here.world);
  CHECK(send(client, text.data(), text.size(), 0) == ssize_t(text.size()));
  REQUIRE(readyOf({server}) == 0);
  CHECK(recv(server, text.data(), text.size(), 0) == ssize_t(text.size()));
  CHECK(send(client, (text + "x").data(), text.size() + 1, 0) == -1);
  CHECK(errno == EMSGSIZE);
  capture.read();
  CHECK(capture.encrypted > 0);
  CHECK(capture.fragments == 0);
  here.world[0].inside([&] { CHECK(Rtnetlink().link(here.tunnel(0).c_str())->mtu == 1440); });
}

TEST_CASE("tunnel: it goes with the last encrypted network, and keys with the hosts that leave",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-end");
  here.world[0].inside([&] { CHECK(wireguardOf(here.tunnel(0))->read().peers.size() == 1); });
  here.world[0].tell({{SECRET}, {SECRET_ONE}});
  here.world[0].inside([&] { CHECK(wireguardOf(here.tunnel(0))->read().peers.empty()); });
  here.world[0].unplug("secret", "one");
  CHECK_FALSE(here.hasTunnel(0));
  CHECK(here.hasTunnel(1));
  here.world[0].inside(
      [&] { CHECK_FALSE(nftTableExists(here.tunnel(0).c_str(), NftFamily::IP6)); });
  here.world[1].tell({{}, {}});
  CHECK_FALSE(here.hasTunnel(1));
}

TEST_CASE("tunnel: connections outlive orchd, and the next one takes over what is there",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-kept");
  auto server = serverIn(here.world.task("two"), 80);
  auto client = socketIn(here.world.task("one"));
  REQUIRE(connectTo(client, "10.0.1.12", 80) == 0);
  auto peer = acceptFrom(server);
  auto key = here.world[0].key();
  here.world[0].crash();
  CHECK(talk(client, peer.fd));
  here.world[0].run();
  CHECK(here.world[0].key() == key);
  here.world[0].retain({"one"});  // before anybody has told what the network is
  CHECK(talk(client, peer.fd));
  here.world[0].tell({{SECRET}, {SECRET_ONE, SECRET_TWO}});
  CHECK(talk(client, peer.fd));
  CHECK(here.world[0].check() == std::vector<std::string>{});
  // One that has nothing to do with such networks any more takes it away.
  here.world[0].crash();
  here.world[0].run();
  here.world[0].retain({});
  CHECK_FALSE(here.hasTunnel(0));
  CHECK(here.world[0].warnings().empty());
}

TEST_CASE("tunnel: so it is with the plugin in a process of its own, that is killed",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-process", testing::Isolation::PROCESS);
  REQUIRE(here.reachesTwo());
  here.world[0].crash();
  CHECK(here.reachesTwo());
  here.world[0].run();
  here.world[0].tell({{SECRET}, {SECRET_ONE, SECRET_TWO}});
  here.world[0].retain({"one"});
  CHECK(here.world[0].check() == std::vector<std::string>{});
  CHECK(here.reachesTwo());
}

TEST_CASE("tunnel: a host whose key is gone has another, and is told and led to by that",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-key");
  REQUIRE(here.reachesTwo());
  auto key = here.world[0].key();
  here.world[0].crash();
  REQUIRE(
      std::filesystem::remove(here.world.folder() + "/files0/data/network.overlay/wireguard.key"));
  here.world[0].run();
  CHECK(here.world[0].key() != key);
  here.world.shareKeys();
  here.world.tellAll({{SECRET}, {SECRET_ONE, SECRET_TWO}});
  CHECK(here.reachesTwo());
  for (int host : {0, 1}) {
    CHECK(here.world[host].check() == std::vector<std::string>{});
    here.world[host].inside(
        [&] { CHECK(wireguardOf(here.tunnel(host))->read().peers.size() == 1); });
  }
}

TEST_CASE("tunnel: when wireguard-go ends, it is made again", "[network][root][netns]") {
  NEEDS_WIREGUARD
  if (kernelHasWireguard()) return;  // which does not end
  TunnelHosts here("tunnel-lost");
  REQUIRE(here.reachesTwo());
  here.run(0, ("ip link del " + here.tunnel(0)).c_str());
  here.world.until("the tunnel that was lost", [&] {
    auto warned = here.world[0].warnings();
    return !warned.empty() && here.hasTunnel(0) && here.world[0].check().empty();
  });
  CHECK(here.reachesTwo());
  CHECK(here.world[0].warnings()[0] == "warn network.tunnel-lost, making it again");
}

TEST_CASE("tunnel: without it nothing leaves the host in the clear", "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-guard");
  REQUIRE(here.reachesTwo());
  here.world[0].crash();  // or it would be made again
  here.run(0,
           "ip -6 neigh replace fe80::1 lladdr 02:42:00:00:00:01 dev wire && "
           "ip -6 route replace default via fe80::1 dev wire");
  here.run(0, ("ip link del " + here.tunnel(0)).c_str());
  auto client = socketIn(here.world.task("one"), true);
  REQUIRE(connectTo(client, "10.0.1.12", 53) == 0);
  Capture capture(here.world);
  CHECK(send(client, "hello", 5, 0) == 5);
  capture.read();
  CHECK(capture.readable == 0);
  CHECK(capture.bare == 0);
  // It would, but for the guard.
  here.world[0].inside([&] { takeDownGuard(here.tunnel(0)); });
  CHECK(send(client, "hello", 5, 0) == 5);
  here.world.until("a packet in the clear", [&] {
    capture.read();
    return capture.readable > 0;
  });
  CHECK(capture.bare > 0);
}

// One VXLAN packet in the clear, as anybody on the wire can send it to a host.
void sendBare(const World& world, const std::string& to, const std::string& text) {
  std::string inner = {0x02, 0x42, 0x0a, 0x00, 0x01, 0x0c, 0x02,
                       0x42, 0x0a, 0x00, 0x01, 0x63, 0x08, 0x00};
  auto put16 = [](std::string& out, uint16_t value) {
    out += char(value >> 8);
    out += char(value & 255);
  };
  std::string packet = {0x45, 0x00};
  put16(packet, 28 + text.size());
  packet += std::string("\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x00\x01\x63\x0a\x00\x01\x0c", 16);
  uint32_t sum = 0;
  for (size_t i = 0; i < packet.size(); i += 2) {
    sum += uint8_t(packet[i]) << 8 | uint8_t(packet[i + 1]);
  }
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  packet[10] = char(~sum >> 8);
  packet[11] = char(~sum & 255);
  put16(packet, 1000), put16(packet, 53), put16(packet, 8 + text.size()), put16(packet, 0);
  std::string header("\x08\x00\x00\x00\x00\x10\x01\x00", 8);  // VNI 4097
  auto whole = header + inner + packet + text;
  inNamespace((world.folder() + "/wire").c_str(), [&] {
    int fd;
    KJ_SYSCALL(fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    kj::AutoCloseFd socket(fd);
    sockaddr_in6 address = {};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(DATA_PORT);
    address.sin6_scope_id = Rtnetlink().link("wire")->index;
    KJ_REQUIRE(inet_pton(AF_INET6, to.c_str(), &address.sin6_addr) == 1);
    KJ_SYSCALL(sendto(fd, whole.data(), whole.size(), 0, reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)));
  });
}

TEST_CASE("tunnel: what does not come by it does not get into the network",
          "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-inject");
  REQUIRE(here.reachesTwo());
  auto server = serverIn(here.world.task("two"), 53, true);
  here.run(1, "ip -6 address replace fe80::51/64 dev wire nodad");
  inNamespace((here.world.folder() + "/wire").c_str(), [] {
    KJ_REQUIRE(std::system("ip -6 address replace fe80::99/64 dev wire nodad") == 0);
  });
  // Both know each other's devices: a packet that waits for that would come late.
  inNamespace((here.world.folder() + "/wire").c_str(), [] {
    KJ_REQUIRE(std::system("busybox ping6 -c 1 -W 60 fe80::51%wire > /dev/null") == 0);
  });
  sendBare(here.world, "fe80::51", "bad");
  // It would, but for the guard: what comes first is what was sent then.
  here.world[1].inside([&] { takeDownGuard(here.tunnel(1)); });
  sendBare(here.world, "fe80::51", "let");
  REQUIRE(readyOf({server}) == 0);
  char text[4] = {};
  CHECK(recv(server, text, 3, 0) == 3);
  CHECK(std::string(text) == "let");
  // A check finds that it is gone, and a repair puts it up.
  CHECK(here.world[1].check().size() >= 1);
  here.world[1].repair();
  CHECK(here.world[1].check() == std::vector<std::string>{});
}

TEST_CASE("tunnel: what somebody changes is found, and repaired", "[network][root][netns]") {
  NEEDS_WIREGUARD
  TunnelHosts here("tunnel-check");
  CHECK(here.world[0].check() == std::vector<std::string>{});
  auto device = here.tunnel(0);
  here.world[0].inside([&] {
    auto control = wireguardOf(device);
    WireguardChange change;
    change.gone.push_back(control->read().peers.begin()->first);
    control->apply(change);
    Rtnetlink net;
    net.run(setMtu(net.link(device.c_str())->index, 1300));
  });
  auto found = here.world[0].check();
  CHECK(found.size() == 2);
  CHECK(found[0] == "device of the tunnel " + device + ": up, mtu 1440, found up, mtu 1300");
  here.world[0].repair();
  CHECK(here.world[0].check() == std::vector<std::string>{});
  CHECK(here.reachesTwo());
}

TEST_CASE("tunnel: a host that can have none says why, and is on no encrypted network",
          "[network][root][netns]") {
  World world("tunnel-none", 1);
  bool kernel = false;
  world[0].inside([&] { kernel = kernelHasWireguard(); });
  if (kernel) return;
  world[0].crash();
  world[0].run("auto", "/nowhere/wireguard-go");
  std::string reason =
      "this kernel has no WireGuard (`modprobe wireguard`), and there is no "
      "'/nowhere/wireguard-go'";
  CHECK(world[0].key() == reason);
  world[0].tell({{SECRET}, {SECRET_ONE}});
  auto error = errorOf([&] { world[0].plug("secret", "one", "10.0.1.11"); });
  CHECK(error.find(reason) != error.npos);
  world[0].untilOnly({});
}

}  // namespace
}  // namespace orch::network::overlay
