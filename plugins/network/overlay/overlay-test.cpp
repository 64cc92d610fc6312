// Legs: across hosts, apart by network, told again and again, gone without a trace.
#include <catch2/catch.hpp>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <filesystem>

#include "host-test.h"
#include "lib/netns.h"
#include "lib/rtnetlink.h"
#include "sandbox.h"

namespace orch::network::overlay {
namespace {

const Net RED{"red", 4097};
const Mate ONE{"red", "one", "web", "10.0.1.11", 0};
const Mate TWO{"red", "two", "web", "10.0.1.12", 1};

bool isEmpty(const std::string& folder) { return std::filesystem::is_empty(folder); }

void checkNothingLeft(const OneHost& host) {
  CHECK(isEmpty(host.layout().pins()));
  CHECK(isEmpty(host.layout().records()));
  host.inside([] {  // a VNI is free as soon as the last leg is gone
    Rtnetlink net;
    net.run(newVxlan({"probe", {4097, *parseIpv4("192.168.50.10"), 4789}, 1450, -1}));
    net.run(deleteLink(net.link("probe")->index));
  });
}

TEST_CASE("overlay: tasks of two hosts reach each other", "[network][root][netns]") {
  World world("reach", 2);
  world.tellAll({{RED}, {ONE, TWO}});
  world[0].plug("red", "one", "10.0.1.11");
  world[1].plug("red", "two", "10.0.1.12");
  CHECK(reaches(world.task("one"), world.task("two"), "10.0.1.12"));
  CHECK(reaches(world.task("two"), world.task("one"), "10.0.1.11"));
  inNamespace(world.task("one").c_str(), [] {
    auto leg = Rtnetlink().link("eth1");
    REQUIRE(leg);
    CHECK(leg->mtu == 1450);
    CHECK(leg->mac == macOf(*parseIpv4("10.0.1.11")));
    CHECK(Rtnetlink().routes().size() == 1);
  });
}

TEST_CASE("overlay: tasks of one host reach each other and the gateway", "[network][root][netns]") {
  World world("same", 1);
  world.tellAll({{RED}, {ONE}});
  world[0].plug("red", "one", "10.0.1.11");
  world[0].plug("red", "two", "10.0.1.12");
  CHECK(reaches(world.task("one"), world.task("two"), "10.0.1.12"));
  CHECK(connectTo(socketIn(world.task("one")), "10.0.1.1", 80) == ECONNREFUSED);
}

TEST_CASE("overlay: a packet as large as the network's MTU passes whole, a larger one does not",
          "[network][root][netns]") {
  World world("mtu", 2);
  world.tellAll({{RED, {"small", 4098, "1300"}}, {ONE, TWO}});
  world[0].plug("red", "one", "10.0.1.11");
  world[1].plug("red", "two", "10.0.1.12");
  auto server = serverIn(world.task("two"), 80, true);
  auto client = socketIn(world.task("one"), true);
  int never = IP_PMTUDISC_DO;
  REQUIRE(setsockopt(client, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof(never)) == 0);
  REQUIRE(connectTo(client, "10.0.1.12", 80) == 0);
  std::string most(1450 - 28, 'x');  // without the headers of IP and UDP
  int error = send(client, most.data(), most.size() + 1, 0) < 0 ? errno : 0;
  CHECK(error == EMSGSIZE);
  CHECK(send(client, most.data(), most.size(), 0) == ssize_t(most.size()));
  REQUIRE(readyOf({server}) == 0);
  char got[2000];
  CHECK(recv(server, got, sizeof(got), 0) == ssize_t(most.size()));

  world[0].plug("small", "three", "10.0.1.11");
  inNamespace(world.task("three").c_str(), [] { CHECK(Rtnetlink().link("eth1")->mtu == 1300); });
}

TEST_CASE("overlay: of a peer that is gone nothing stays", "[network][root][netns]") {
  World world("gone", 2);
  world.tellAll({{RED}, {ONE, TWO}});
  world[0].plug("red", "one", "10.0.1.11");
  auto entries = [&] {
    size_t macs = 0, neighbours = 0;
    inNamespace(world[0].layout().pinOf("red").c_str(), [&] {
      macs = Rtnetlink().remoteMacs().size();
      neighbours = Rtnetlink().permanentNeighbours().size();
    });
    return std::pair(macs, neighbours);
  };
  CHECK(entries() == std::pair<size_t, size_t>(1, 2));
  world[0].tell({{}, {}, {}, false, {TWO}});
  CHECK(entries() == std::pair<size_t, size_t>(0, 1));
  world[0].tell({{}, {TWO}, {}, false});
  world[0].tell({{RED}, {ONE}});
  CHECK(entries() == std::pair<size_t, size_t>(0, 1));
}

TEST_CASE("overlay: a node that learns its address late is connected then",
          "[network][root][netns]") {
  World world("late", 2);
  world[0].tell({{RED}, {TWO}});
  world[0].plug("red", "one", "10.0.1.11");
  world[1].tell({{RED}, {ONE, TWO}});
  world[1].plug("red", "two", "10.0.1.12");
  world[0].tell({{}, {ONE}, {}, false});
  CHECK(reaches(world.task("one"), world.task("two"), "10.0.1.12"));
}

TEST_CASE("overlay: a leg that cannot be is refused and leaves nothing", "[network][root][netns]") {
  World world("refused", 1);
  auto refusal = [&](const char* network, const char* device) {
    return errorOf([&] { world[0].plug(network, "one", "10.0.1.11", device); });
  };
  CHECK(refusal("red", "eth1") == "cannot join the network 'red': nobody has told of it yet");
  world[0].tell({{RED}, {ONE}});
  CHECK(refusal("../red", "eth1").find("cannot be the id") != std::string::npos);
  CHECK(refusal("red", "lo") ==
        "cannot join the network 'red': the task has a network device 'lo' of its own already");
  checkNothingLeft(world[0]);
  CHECK(errorOf([&] {
          world[0].tell({{{"red", 4097, "100"}}});
        }).find("com.docker.network.driver.mtu '100'") != std::string::npos);
}

TEST_CASE("overlay: with IPv6 a network is refused an MTU that is too small for it",
          "[network][root][netns]") {
  World world("refused-mtu", 1, true);
  auto refusal = errorOf([&] { world[0].tell({{{"red", 4097, "1279"}}}); });
  CHECK(refusal.find("com.docker.network.driver.mtu '1279': it must be 1280 to") !=
        std::string::npos);
}

TEST_CASE("overlay: a thousand peers are two requests each, or three, and none the second time",
          "[network][root][netns]") {
  bool ipv6 = GENERATE(false, true);
  uint64_t requests = ipv6 ? 3000 : 2000;
  World world("thousand", 1);
  std::filesystem::create_directories(world[0].layout().records());
  world[0].inside([&] {
    Sandbox sandbox(world[0].layout(), "red");
    SandboxChange change;
    change.facts = NetworkFacts{*parseSubnet("10.0.0.0/16"), *parseIpv4("10.0.0.1"), 4097, 1450};
    if (ipv6) {
      Ipv6Twins twins{change.facts->subnet, *parseSubnet6("fd00:1::/64")};
      change.facts->ipv6 = Ipv6Facts{twins, *parseIpv6("fd00:1::1"), 64};
    }
    change.host = *parseIpv4("192.168.50.10");
    change.complete = change.balancing.complete = true;
    sandbox.apply(change);
    auto before = sandbox.changes();
    change.complete = change.balancing.complete = false;
    for (Ipv4 i = 0; i < 1000; ++i)
      change.remotes[(10u << 24) + 256 + i] = *parseIpv4("192.168.50.11");
    sandbox.apply(change);
    CHECK(sandbox.changes() - before == requests);
    sandbox.apply(change);
    CHECK(sandbox.changes() - before == requests);
    change.complete = true;  // from what the kernel has
    Sandbox next(world[0].layout(), "red");
    next.apply(change);
    CHECK(next.changes() < 10);
    for (auto& [address, host] : change.remotes) host = {};
    change.complete = false;
    before = next.changes();
    next.apply(change);
    CHECK(next.changes() - before == requests);
    Sandbox::remove(world[0].layout(), "red", {});
  });
}

}  // namespace
}  // namespace orch::network::overlay
