// What the kernel has against the books: what somebody breaks from outside is found by name, and
// repaired.
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <netinet/in.h>

#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"
#include "mesh.h"
#include "node-test.h"

namespace orch::network::ingress {
namespace {

using Lines = std::vector<std::string>;

struct Fixture {
  explicit Fixture(kj::StringPtr name) : node(name) {
    node.run();
    node.publishActive("one", {{80, 8080}});
    node.tell(NODE_ADDRESS, {other(1)});
    REQUIRE(node.check() == Lines{});
    REQUIRE(node.checked > 20);
  }
  // Only these things are found, again and again; then they are repaired, and none is left.
  void findsAndRepairs(const Lines& objects) {
    CHECK(node.check() == objects);
    CHECK(node.check() == objects);
    auto repaired = objects;
    for (auto& line : repaired) line += " repaired";
    CHECK(node.repair() == repaired);
    CHECK(node.check() == Lines{});
  }
  TestNode node;
};

uint32_t meshDevice() {
  auto link = Rtnetlink().link("orch-mesh");
  KJ_REQUIRE(link.has_value());
  return link->index;
}

TEST_CASE("check: a turn of a published port that is gone is found and put in again",
          "[network][root][netns]") {
  Fixture here("check-turn");
  NftBytes key;
  key.protocol(IPPROTO_TCP).port(8080).mark(1);
  NftBatch("orch-ingress").deleteElement("backends", key).commit();
  here.findsAndRepairs(
      {"table ip orch-ingress: element tcp . 8080 . 1 of backends: "
       "192.168.50.100 . 8080, found nothing"});
}

TEST_CASE("check: a port that leads nowhere is found and led again", "[network][root][netns]") {
  Fixture here("check-port");
  NftBytes key;
  key.protocol(IPPROTO_TCP).port(8080);
  NftBatch("orch-ingress").deleteElement("active", key).commit();
  here.findsAndRepairs(
      {"table ip orch-ingress: element tcp . 8080 of active: goto tcp-8080, found nothing"});
  NftBatch("orch-ingress").deleteRules("lead").commit();
  here.findsAndRepairs({"table ip orch-ingress: chain lead: 5 rules, found 0 rules"});
}

TEST_CASE("check: the rule of what leaves by the mesh that is gone is found and set again",
          "[network][root][netns]") {
  Fixture here("check-egress");
  NftBatch("orch-ingress", NftFamily::NETDEV).deleteRules("egress").commit();
  here.findsAndRepairs({"table netdev orch-ingress: chain egress: 1 rule, found 0 rules"});
}

TEST_CASE("check: the way to another node that is gone is found and made again",
          "[network][root][netns]") {
  Fixture here("check-way");
  Rtnetlink().run(deleteRemoteMac(meshDevice(), macOf(*parseIpv4(OTHER_ADDRESS))));
  here.findsAndRepairs(
      {"forwarding entry of orch-mesh for 192.168.50.100: host 192.168.50.100, "
       "found nothing"});
  Rtnetlink().run(deleteMarkRule(MESH_MARK, MESH_TABLE));
  here.findsAndRepairs({"rule for table 28530: present, found nothing"});
  Rtnetlink().run(linkDown(meshDevice()));  // its routes go with it, and what it has of IPv6
  here.findsAndRepairs(
      {"device orch-mesh: up, VNI 4096 from 192.168.50.10:4789, found down, VNI 4096 from "
       "192.168.50.10:4789",
       "route of table 28530: present, found nothing",
       "address fd6f:7263:6801::c0a8:320a of orch-mesh: present, found nothing",
       "IPv6 route of table 28530: present, found nothing"});
}

TEST_CASE("check: the whole table or device that is gone is found and made again",
          "[network][root][netns]") {
  Fixture here("check-all");
  NftBatch("orch-ingress").deleteTable().commit();
  CHECK(here.node.check().size() > 20);
  CHECK(here.node.repair().size() > 20);
  CHECK(here.node.check() == Lines{});
  Rtnetlink().run(deleteLink(meshDevice()));
  CHECK(here.node.check().size() > 2);
  here.node.repair();
  CHECK(here.node.check() == Lines{});
}

TEST_CASE("check: a port that another program has is told of, and stays its own",
          "[network][root][netns]") {
  Fixture here("check-taken");
  auto program = serverIn("", 8181);
  here.node.tell(NODE_ADDRESS, {{"n3", "192.168.50.101", {{8181, 1}}}});
  Lines lines{"published port: answered on, found 8181/tcp: another program listens on it"};
  CHECK(here.node.check() == lines);
  CHECK(here.node.repair() == lines);
}

TEST_CASE("check: a node that publishes nothing has nothing to look at", "[network][root][netns]") {
  TestNode node("check-idle");
  node.run();
  CHECK(node.repair() == Lines{});
  CHECK(node.checked == 0);
  node.publish("one", {{80, 8080}});
  CHECK(node.check() == Lines{});
  CHECK(node.members == Lines{});
  node.activate("one");
  CHECK(node.check() == Lines{});
  CHECK(node.members == Lines{"one"});
  CHECK(node.check("red") == Lines{});
  CHECK(node.checked == 0);
}

}  // namespace
}  // namespace orch::network::ingress
