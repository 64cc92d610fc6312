// Tasks of internal networks: what is left to them of their node's own network.
#include <catch2/catch.hpp>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "host-test.h"
#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {
namespace {

const Net CLOSED_NET{"red", 4097};
const Mate HERE{"red", "one", "web", "10.0.1.11", 0};
const Mate THERE{"red", "two", "web", "10.0.1.12", 1};

struct Closing {
  explicit Closing(kj::StringPtr name) : world(name, 2) {
    world.tellAll({{CLOSED_NET}, {HERE, THERE}});
    world[0].connect("one");
    world[1].plug("red", "two", "10.0.1.12");
  }
  void plug(WayOut wayOut) { world[0].plug("red", "one", "10.0.1.11", "eth1", wayOut); }
  World world;
};

bool hasTable(World& world) {
  bool has = false;
  inNamespace(world.task("one").c_str(), [&] { has = nftTableExists(CLOSED_TABLE); });
  return has;
}

TEST_CASE("way out: of a closed task there is none, and its networks work",
          "[network][root][netns]") {
  Closing test("closed");
  auto& world = test.world;
  CHECK(connectTo(socketIn(world.task("one")), "10.9.0.1", 80) == ECONNREFUSED);
  for (int again = 0; again < 2; ++again) {
    test.plug(WayOut::NONE);
    CHECK(connectTo(socketIn(world.task("one")), "10.9.0.1", 80) == ENETUNREACH);
    CHECK(connectTo(socketIn(world.task("one")), "192.168.50.10", 80) == ENETUNREACH);
    CHECK(reaches(world.task("one"), world.task("two"), "10.0.1.12"));
    CHECK(reaches(world.task("two"), world.task("one"), "10.0.1.11"));
  }
  // What may change devices inside opens nothing, for the other end is out of its reach.
  world[0].inside([] { CHECK_FALSE(Rtnetlink().link("to-one")->up); });
}

TEST_CASE("way out: one that has published ports answers, and begins nothing",
          "[network][root][netns][nft]") {
  Closing test("answers");
  auto& world = test.world;
  for (bool ipv6 : {false, true, false}) {
    test.plug(WayOut::ANSWERS);
    auto server = serverIn(world.task("one"), 80, false, ipv6);
    kj::AutoCloseFd client;
    world[0].inside([&] { client = socketIn("", false, ipv6); });
    REQUIRE(connectTo(client, ipv6 ? "fd09::2" : "10.9.0.2", 80) == 0);
    REQUIRE(readyOf({server}) == 0);
    auto accepted = acceptFrom(server);
    CHECK(talk(client, accepted.fd));
    // A datagram is dropped where it is sent.
    auto out = socketIn(world.task("one"), true, ipv6);
    REQUIRE(connectTo(out, ipv6 ? "fd09::1" : "10.9.0.1", 80) == 0);
    CHECK(send(out, "x", 1, 0) == -1);
    CHECK(errno == EPERM);
    CHECK(reaches(world.task("one"), world.task("two"), "10.0.1.12"));
  }
  CHECK(hasTable(world));
}

TEST_CASE("way out: after a crash a closed task is known to be one", "[network][root][netns]") {
  Closing test("kept");
  auto& world = test.world;
  test.plug(WayOut::NONE);
  world[0].crash();
  world[0].run();
  world[0].retain({"one"});
  world.tellAll({{CLOSED_NET}, {HERE, THERE}});
  test.plug(WayOut::NONE);
  CHECK(connectTo(socketIn(world.task("one")), "10.9.0.1", 80) == ENETUNREACH);
  CHECK(reaches(world.task("two"), world.task("one"), "10.0.1.11"));
  CHECK(world[0].warnings().empty());
}

TEST_CASE("way out: a record says what is left, and one of an older orchd that all is",
          "[network]") {
  Leg leg{"red", "one", "/run/one", "eth1", *parseIpv4("10.0.1.11"), 24};
  for (auto wayOut : {WayOut::OPEN, WayOut::ANSWERS, WayOut::NONE}) {
    leg.wayOut = wayOut;
    CHECK(decodeLeg(encodeLeg(leg)) == leg);
  }
  auto text = encodeLeg(leg);
  auto line = text.find("wayout none\n");
  REQUIRE(line != std::string::npos);
  auto old = decodeLeg(text.erase(line, strlen("wayout none\n")));
  REQUIRE(old);
  CHECK(old->wayOut == WayOut::OPEN);
}

}  // namespace
}  // namespace orch::network::overlay
