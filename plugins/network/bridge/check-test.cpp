// What the kernel has against the records: what somebody breaks from outside is found by name, and
// repaired.
#include <catch2/catch.hpp>
#include <kj/debug.h>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "node-test.h"

namespace orch::network::bridge {
namespace {

using Lines = std::vector<std::string>;

struct Fixture {
  explicit Fixture(kj::StringPtr name) : node(name) {
    node.run();
    end = node.attach("one");
    address = *parseIpv4(end.address.c_str());
    REQUIRE(node.check() == Lines{});
  }
  void findsAndRepairs(const Lines& objects) {
    CHECK(node.check() == objects);
    auto repaired = objects;
    for (auto& line : repaired) line += " repaired";
    CHECK(node.repair() == repaired);
    CHECK(node.check() == Lines{});
  }
  uint32_t bridge() { return indexOf(node.layout().bridge); }
  static uint32_t indexOf(const std::string& name) {
    auto link = Rtnetlink().link(name.c_str());
    KJ_REQUIRE(link.has_value(), name.c_str());
    return link->index;
  }
  TestNode node;
  End end;
  Ipv4 address = 0;
};

TEST_CASE("check: what a task has of the bridge and lost is found and made again",
          "[network][root][netns]") {
  Fixture here("check-task");
  CHECK(here.node.members == Lines{"bridge one"});
  Rtnetlink().run(deleteNeighbour(here.bridge(), here.address));
  here.findsAndRepairs({"neighbour " + here.end.address + ": present, found nothing"});

  Rtnetlink().run(setMaster(Fixture::indexOf(here.node.layout().deviceOf("one")), NO_MASTER));
  here.findsAndRepairs({"port of task one: port of " + here.node.layout().bridge +
                            ", mtu 1500, found port of "
                            "nothing, mtu 1500",
                        "forwarding entry of " + here.end.address + ": present, found nothing"});

  inNamespace(here.end.path.c_str(), [&] {
    auto device = Fixture::indexOf("eth0");
    Rtnetlink().run(deleteAddress(Address{device, here.address, 16}));
  });
  here.findsAndRepairs({"eth0 of task one: " + here.end.address + ", found without its address"});
}

TEST_CASE("check: rules and addresses of the node that are gone are found and made again",
          "[network][root][netns]") {
  Fixture here("check-node");
  auto table = here.node.layout().table;
  NftBatch(table.c_str()).deleteRules("postrouting").commit();
  here.findsAndRepairs({"table ip " + table + ": chain postrouting: 3 rules, found 0 rules"});
  Rtnetlink().run(deleteAddress(Address{here.bridge(), here.node.layout().gateway, 16}));
  // The kernel forgets neighbours with the last address.
  here.findsAndRepairs({"gateway's address 172.30.0.1: present, found nothing",
                        "neighbour " + here.end.address + ": present, found nothing"});
}

TEST_CASE("check: a task whose device is gone is found, and stays so", "[network][root][netns]") {
  Fixture here("check-lost");
  Rtnetlink().run(deleteLink(Fixture::indexOf(here.node.layout().deviceOf("one"))));
  auto lines = here.node.check();
  CHECK(lines.size() == 3);
  auto after = here.node.repair();
  REQUIRE(after.size() == 3);
  CHECK(after[0].find("repaired") == std::string::npos);
}

}  // namespace
}  // namespace orch::network::bridge
