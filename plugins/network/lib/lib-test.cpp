#include <catch2/catch.hpp>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/genetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lib/conntrack.h"
#include "lib/generic-netlink.h"
#include "lib/ipv6.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"

namespace orch::network {
namespace {

// Runs in a namespace of its own, which goes with the pin.
void isolated(kj::StringPtr testName, kj::FunctionParam<void()> test) {
  testing::TestFolder folder(kj::str("network-lib-", testName));
  auto pin = folder.sub("netns");
  makeNamespace(pin).inside->run(linkUp(1));
  KJ_DEFER(dropPin(pin));
  inNamespace(pin, test);
}

TEST_CASE("network: addresses and subnets are read strictly", "[network]") {
  CHECK(ipv4Text(*parseIpv4("172.30.0.255")) == "172.30.0.255");
  for (auto text : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4 ", "a.b.c.d"}) {
    CHECK_FALSE(parseIpv4(text));
  }
  CHECK(parseIpv4Host("10.1.0.1:7946") == parseIpv4("10.1.0.1"));
  CHECK(parseIpv4Host("10.1.0.1") == parseIpv4("10.1.0.1"));
  for (auto text : {"", ":7946", "[fd90::1]:7946", "10.1.0:7946"}) CHECK_FALSE(parseIpv4Host(text));
  auto subnet = parseSubnet("10.1.0.0/16");
  REQUIRE(subnet);
  CHECK(subnetText(*subnet) == "10.1.0.0/16");
  CHECK(subnet->size() == 65536);
  CHECK(subnet->contains(*parseIpv4("10.1.255.255")));
  CHECK_FALSE(subnet->contains(*parseIpv4("10.2.0.0")));
  for (auto text : {"10.1.0.0", "10.1.0.0/", "10.1.0.0/0", "10.1.0.0/33", "10.1.0.1/16",
                    "10.1.0.0/16 ", "10.1.0.0/-1", "/16"}) {
    CHECK_FALSE(parseSubnet(text));
  }
}

TEST_CASE("network: addresses and subnets of IPv6 are read strictly", "[network]") {
  CHECK(ipv6Text(*parseIpv6("fd00:1:0:0:0:0:0:0ff")) == "fd00:1::ff");
  for (auto text : {"", ":", "1.2.3.4", "fd00::1 ", "fd00::1::2", "fd00::1/64", "[fd00::1]"}) {
    CHECK_FALSE(parseIpv6(text));
  }
  CHECK(parseIpv6Host("[fd90::3]:7946") == parseIpv6("fd90::3"));
  CHECK(parseIpv6Host("fd90::3") == parseIpv6("fd90::3"));
  CHECK_FALSE(parseIpv6Host("10.0.0.1:7946"));
  CHECK_FALSE(parseIpv6Host("[fd90::3"));
  auto subnet = *parseSubnet6("fd00:1::/60");
  CHECK(subnetText(subnet) == "fd00:1::/60");
  CHECK(subnet.contains(*parseIpv6("fd00:1:0:f::1")));
  CHECK_FALSE(subnet.contains(*parseIpv6("fd00:1:0:10::1")));
  for (auto text : {"fd00::", "fd00::/", "fd00::/0", "fd00::/129", "fd00::1/64", "fd00::/64 ",
                    "fd00:0:0:8::/60", "10.0.0.0/24"}) {
    CHECK_FALSE(parseSubnet6(text));
  }
}

TEST_CASE("network: each address of a network has a twin of IPv6", "[network]") {
  capnp::MallocMessageBuilder message;
  auto network = message.initRoot<schema::Network>();
  network.setSubnet("10.0.16.0/20");
  CHECK_FALSE(twinsOf(network));
  network.setSubnet6("fd00:1::/64");
  auto twins = *twinsOf(network);
  CHECK(ipv6Text(twins.of(*parseIpv4("10.0.17.5"))) == "fd00:1::105");
  CHECK(twins.ownerOf(*parseIpv6("fd00:1::105")) == parseIpv4("10.0.17.5"));
  for (auto other : {"fd00:1::1005", "fd00:1::1:0:105", "fd00:2::105"}) {
    CHECK_FALSE(twins.ownerOf(*parseIpv6(other)));
  }
  network.setIpRange6("fd00:1::4000:0/116");
  CHECK(ipv6Text(twinsOf(network)->of(*parseIpv4("10.0.17.5"))) == "fd00:1::4000:105");
  network.setIpRange6("fd00:1::4000:0/117");
  CHECK_FALSE(twinsOf(network));
}

TEST_CASE("network: a namespace lives as long as its pin and what is inside",
          "[network][root][netns]") {
  testing::TestFolder folder("network-lib-pin");
  auto pin = folder.sub("netns");
  CHECK_FALSE(isPinned(pin));
  auto made = makeNamespace(pin);
  CHECK(isPinned(pin));
  CHECK_THROWS(makeNamespace(pin));
  CHECK(isPinned(pin));
  std::vector<Link> inside;
  inNamespace(pin, [&] { inside = Rtnetlink().links(); });
  REQUIRE(inside.size() >= 1);
  CHECK(inside[0].name == "lo");
  CHECK_FALSE(inside[0].up);
  dropPin(pin);
  dropPin(pin);
  CHECK_FALSE(std::filesystem::exists(pin.cStr()));
}

TEST_CASE("network: what fails inside a namespace is the caller's error",
          "[network][root][netns]") {
  auto failed = attemptNow([] { isolated("inside", [] { fail(kj::str("no such luck")); }); });
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.message() == "no such luck");
}

TEST_CASE("network: a refused request names what was asked and why", "[network][root][netns]") {
  isolated("refusal", [] {
    Rtnetlink net;
    net.run(newBridge("br", macOf(1), 1500));
    auto again = attemptNow([&] { net.run(newBridge("br", macOf(1), 1500)); });
    REQUIRE_FALSE(again.ok());
    CHECK(again.message() == "cannot make the bridge 'br': File exists");
    auto link = net.link("br");
    REQUIRE(link);
    CHECK(link->kind == "bridge");
    CHECK(link->up);
    CHECK_FALSE(net.link("nobody"));
    net.run(setAlias(link->index, "ours"), newAddress(link->index, *parseIpv4("10.9.0.1"), 24));
    CHECK(net.link("br")->alias == "ours");
    REQUIRE(net.routes().size() == 1);
    CHECK(subnetText(net.routes()[0].to) == "10.9.0.0/24");
    net.run(deleteLink(link->index));
    CHECK_FALSE(net.link("br"));
  });
}

TEST_CASE("network: hundreds of requests go in one call", "[network][root][netns]") {
  isolated("many", [] {
    Rtnetlink net;
    std::vector<NetlinkMessage> messages;
    for (Ipv4 i = 1; i <= 300; ++i) messages.push_back(newAddress(1, (10u << 24) + i, 32));
    net.runAll(messages);
    CHECK(net.addresses().size() == 301);
  });
}

TEST_CASE("network: of answers that are not whole nothing is read", "[network]") {
  struct {
    nlmsghdr head = {};
    nlattr attribute = {};
    char text[4] = {'t', 'e', 'x', 't'};
  } answer;
  auto messages = [&] {
    size_t count = 0;
    for (auto* message : NetlinkMessages(&answer, sizeof(answer))) count += message != nullptr;
    return count;
  };
  answer.head.nlmsg_len = sizeof(answer);
  CHECK(messages() == 1);
  for (uint32_t length : {0u, 15u, uint32_t(sizeof(answer)) + 1, 0xf8f8f8f8u}) {
    answer.head.nlmsg_len = length;
    CHECK(messages() == 0);
  }
  answer.head.nlmsg_len = sizeof(nlmsghdr) + 4;
  CHECK(messages() == 1);

  answer.attribute.nla_len = NLA_HDRLEN + 4;
  CHECK(textOf(&answer.attribute) == "text");
  CHECK(valueOf<uint64_t>(&answer.attribute) == 0);
  answer.attribute.nla_len = NLA_HDRLEN + 2;
  CHECK(textOf(&answer.attribute) == "te");
  CHECK(valueOf<uint32_t>(&answer.attribute) == 0);

  struct Header {
    uint32_t first;
    uint32_t second;
  };
  CHECK(headerOf<Header>(&answer.head).first == 0);
  for (size_t skip : {size_t(4), size_t(5), size_t(1000), ~size_t(0)}) {
    NetlinkAttributes none(&answer.head, skip);
    CHECK_FALSE(none.begin() != none.end());
  }
}

TEST_CASE("network: the rule for a mark is there once, however often it is set",
          "[network][root][netns]") {
  isolated("rule", [] {
    Rtnetlink net;
    CHECK(net.attempt(newMarkRule(1, 1000)) == 0);
    CHECK(net.attempt(newMarkRule(1, 1000)) == EEXIST);
    CHECK(net.attempt(deleteMarkRule(1, 1000)) == 0);
    CHECK(net.attempt(deleteMarkRule(1, 1000)) == ENOENT);
  });
}

TEST_CASE("network: an nftables batch is done as a whole or not at all", "[network][root][netns]") {
  isolated("batch", [] {
    CHECK_FALSE(nftTableExists("t"));
    NftBytes key;
    key.protocol(IPPROTO_TCP).port(80);
    NftBatch good("t");
    good.addTable().addSet("s", {NftType::PROTOCOL, NftType::PORT}).addElement("s", key);
    good.commit();
    CHECK(nftTableExists("t"));

    NftBytes other;
    other.protocol(IPPROTO_TCP).port(81);
    NftBatch bad("t");
    bad.addElement("s", other).deleteElement("missing", key);
    auto refused = attemptNow([&] { bad.commit(); });
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.message() ==
          "cannot change the nftables table 't': delete an element of 'missing': No such file or "
          "directory");
    // The element before it was not added either.
    NftBatch check("t");
    check.deleteElement("s", other);
    CHECK_THROWS(check.commit());

    NftBatch("t").commit();  // nothing to do is success
    NftBatch gone("t");
    gone.addTable().deleteTable().commit();
    CHECK_FALSE(nftTableExists("t"));
  });
}

TEST_CASE("network: a batch of thousands of elements fits", "[network][root][netns]") {
  isolated("large", [] {
    NftBatch batch("t");
    batch.addTable().addSet("s", {NftType::ADDRESS});
    for (Ipv4 i = 0; i < 10000; ++i) {
      NftBytes key;
      batch.addElement("s", key.address(i));
    }
    batch.commit();
    CHECK(nftTableExists("t"));
  });
}

TEST_CASE("network: a generic netlink family is found by its name", "[network][root][netns]") {
  isolated("family", [] {
    NetlinkSocket socket(NETLINK_GENERIC);
    CHECK(genericFamily(socket, "nlctrl") == GENL_ID_CTRL);
    CHECK_FALSE(genericFamily(socket, "orch-nobody"));
  });
}

TEST_CASE("network: tables of the families ip and bridge are apart", "[network][root][netns]") {
  isolated("families", [] {
    NftBatch bridge("t", NftFamily::BRIDGE);
    bridge.addTable().addTimedSet("seen", {NftType::ADDRESS}, 10);
    bridge.addChain("pre", {"filter", NftPoint::PREROUTING, 0});
    NftRule rule;
    rule.isIpv4().loadSource(R0).remember("seen", R0, 1000).setMark(R0).setDestination(R0);
    bridge.addRule("pre", rule).commit();
    CHECK(nftTableExists("t", NftFamily::BRIDGE));
    CHECK_FALSE(nftTableExists("t"));
    NetlinkSocket socket(NETLINK_NETFILTER);
    CHECK(nftChains(socket, "t", NftFamily::BRIDGE).size() == 1);
    CHECK(nftChains(socket, "t").empty());
    NftBatch("t", NftFamily::BRIDGE).deleteTable().commit();
    CHECK_FALSE(nftTableExists("t", NftFamily::BRIDGE));
  });
}

TEST_CASE("network: forgetting connections of nobody finds none", "[network][root][netns]") {
  isolated("flows", [] {
    NetlinkSocket socket(NETLINK_NETFILTER);
    CHECK(forgetFlows(socket, {{*parseIpv4("10.0.0.1"), IPPROTO_UDP}}) == 0);
    CHECK(forgetFlows(socket, std::vector<FlowsTo>(20, FlowsTo{1, 0})) == 0);
  });
}

TEST_CASE(
    "network: a connection that is open or was reset is forgotten, one that was closed is not",
    "[network][root][netns]") {
  isolated("flows-over", [] {
    Rtnetlink().run(newAddress(1, *parseIpv4("10.1.1.1"), 32));
    NftBatch batch("flows");  // such a rule has connections tracked
    NftRule rule;
    rule.protocolIs(IPPROTO_UDP).masquerade();
    batch.addTable();
    batch.addChain("postrouting", {"nat", NftPoint::POSTROUTING, 0});
    batch.addRule("postrouting", rule);
    batch.commit();
    sockaddr_in place{AF_INET, htons(80), {htonl(*parseIpv4("10.1.1.1"))}, {}};
    auto* address = reinterpret_cast<sockaddr*>(&place);
    kj::AutoCloseFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    KJ_SYSCALL(bind(server, address, sizeof(place)));
    KJ_SYSCALL(listen(server, 8));
    auto connected = [&] {
      kj::AutoCloseFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      KJ_SYSCALL(connect(client, address, sizeof(place)));
      return client;
    };
    NetlinkSocket netfilter(NETLINK_NETFILTER);
    auto all = [&] { return forgetFlows(netfilter, {{ntohl(place.sin_addr.s_addr), 0}}); };
    auto accepted = [&] {
      int client;
      KJ_SYSCALL(client = accept4(server, nullptr, nullptr, SOCK_CLOEXEC));
      return kj::AutoCloseFd(client);
    };
    auto open = connected();
    auto served = accepted();
    CHECK(all() == 1);
    CHECK(all() == 0);
    {
      auto closing = connected();
      auto second = accepted();
      closing = nullptr;
      char byte;
      KJ_SYSCALL(read(second, &byte, 1));  // its end has come
    }
    CHECK(all() == 0);
    auto reset = connected();
    {
      auto third = accepted();
      linger atOnce{1, 0};
      KJ_SYSCALL(setsockopt(third, SOL_SOCKET, SO_LINGER, &atOnce, sizeof(atOnce)));
    }
    CHECK(all() == 1);
  });
}

}  // namespace
}  // namespace orch::network
