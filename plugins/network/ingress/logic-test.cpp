// The parts without a kernel: records, port table, settings.
#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>

#include "layout.h"
#include "orch/attempt.h"
#include "parse.h"
#include "port-table.h"

namespace orch::network::ingress {
namespace {

Publication publicationOf(const char* id, const char* address, std::vector<TaskPort> ports) {
  return {id, *parseIpv4(address), false, std::move(ports)};
}

TEST_CASE("ingress: a record is read as it was written, whole or not at all", "[network]") {
  auto publication = publicationOf("task1", "10.0.0.2",
                                   {{80, 8080, IPPROTO_TCP, false, true},
                                    {81, 8081, IPPROTO_TCP},
                                    {53, 40000, IPPROTO_UDP, true}});
  publication.active = true;
  auto text = encodePublication(publication);
  CHECK(decodePublication("task1", text) == publication);
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    CHECK_FALSE(decodePublication("task1", text.substr(0, size)));
  }
}

const PortKey WEB{IPPROTO_TCP, 8080};

TEST_CASE("ingress: the table tells the kernel the least that leads there", "[network]") {
  PortTable table;
  auto one = publicationOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  auto two = publicationOf("two", "10.0.0.3", {{80, 8080, IPPROTO_TCP, false}});
  auto three = publicationOf("three", "10.0.0.4", {{81, 8080, IPPROTO_TCP, false}});
  for (auto* publication : {&one, &two, &three}) {
    table.publish(*publication);
    table.activate(*publication);
    table.activate(*publication);
  }
  auto changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK_FALSE(changes[0].before);
  CHECK(changes[0].after->turns.size() == 3);
  table.confirm(changes);
  CHECK(table.changes().empty());

  table.deactivate(one);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  // The last takes the turn of the one that went.
  CHECK(changes[0].after->turns == Backends{{three.address, 81}, {two.address, 80}});
  table.activate(one);  // meanwhile
  table.confirm(changes);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].after->turns.size() == 3);
  table.confirm(changes);

  for (auto* publication : {&one, &two, &three}) table.withdraw(*publication);
  table.withdraw(one);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK_FALSE(changes[0].after);
  table.confirm(changes);
  CHECK(table.changes().empty());
  CHECK_FALSE(table.published(WEB));
}

TEST_CASE("ingress: what is left of a task takes nothing from another with its address",
          "[network]") {
  PortTable table;
  auto lost = publicationOf("lost", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  auto lives = publicationOf("lives", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  for (auto* publication : {&lost, &lives}) {
    table.publish(*publication);
    table.activate(*publication);
  }
  table.withdraw(lost);
  auto changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].after->turns == Backends{{lives.address, 80}});
  table.withdraw(lives);
  CHECK(table.changes().empty());
  CHECK_FALSE(table.published(WEB));
}

TEST_CASE("ingress: after a rebuild the kernel has what was given and nothing else", "[network]") {
  PortTable table;
  auto one = publicationOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  table.publish(one);
  table.confirm(table.changes());
  auto all = table.everything();
  table.withdraw(one);  // while the rebuild is under way
  table.confirmAll(all);
  auto changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].before);
  CHECK_FALSE(changes[0].after);
}

TEST_CASE("ingress: a host port is one task's, an ingress port is shared", "[network]") {
  PortTable table;
  TaskPort ingress{80, 8080, IPPROTO_TCP, false};
  TaskPort host{80, 8080, IPPROTO_TCP, true};
  TaskPort udp{80, 8080, IPPROTO_UDP, true};
  auto one = publicationOf("one", "10.0.0.2", {ingress});
  table.publish(one);
  CHECK_FALSE(table.conflicts(ingress));
  CHECK(table.conflicts(host));
  CHECK_FALSE(table.conflicts(udp));
  table.withdraw(one);
  CHECK_FALSE(table.conflicts(host));
  table.publish(publicationOf("two", "10.0.0.2", {host}));
  CHECK(table.conflicts(ingress));
}

TEST_CASE("ingress: another node has a turn for each of its tasks, after those of this one",
          "[network]") {
  PortTable table;
  auto one = publicationOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  table.publish(one);
  table.activate(one);
  Ipv4 node = *parseIpv4("192.168.0.2");
  Shares shares{{WEB, {{node, 2}}}, {{IPPROTO_TCP, 9090}, {{node, 1}}}};
  table.share(shares);
  auto changes = table.changes();
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].after->here == 1);
  CHECK(changes[0].after->turns == Backends{{one.address, 80},
                                            {node, 8080, meshAddressOf(node)},
                                            {node, 8080, meshAddressOf(node)}});
  CHECK(changes[1].after->here == 0);
  table.confirm(changes);
  table.share(shares);
  CHECK(table.changes().empty());

  table.withdraw(one);
  table.share({{WEB, {{node, 2}}}});
  changes = table.changes();
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].after->turns ==
        Backends{{node, 8080, meshAddressOf(node)}, {node, 8080, meshAddressOf(node)}});
  CHECK_FALSE(changes[1].after);
  table.confirm(changes);
  table.share({});
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK_FALSE(changes[0].after);
}

TEST_CASE("ingress: by IPv6 those have turns who have it", "[network]") {
  PortTable table;
  auto one = publicationOf("one", "10.0.0.1", {{80, 8080, IPPROTO_TCP}});
  auto two = publicationOf("two", "10.0.0.2", {{80, 8080, IPPROTO_TCP}});
  two.address6 = parseIpv6("fd00:1::2");
  for (auto& publication : {one, two}) {
    table.publish(publication);
    table.activate(publication);
  }
  Ipv4 node = *parseIpv4("192.168.0.2");
  table.share({{WEB, {{node, 1}}}});
  auto led = table.everything()[0].after->ofIpv6();
  CHECK(led.here == 1);
  CHECK(led.turns == Backends{{two.address, 80, two.address6}, {node, 8080, meshAddressOf(node)}});
  CHECK(ipv6Text(meshAddressOf(node)) == "fd6f:7263:6801::c0a8:2");
  CHECK(decodePublication("two", encodePublication(two)) == two);
}

TEST_CASE("ingress: where a node's own tasks are preferred, others have turns when it has none",
          "[network]") {
  PortTable table;
  auto one = publicationOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false, true}});
  Ipv4 node = *parseIpv4("192.168.0.2");
  table.publish(one);
  table.share({{WEB, {{node, 2}}}});
  auto turns = [&] { return table.everything()[0].after->turns; };
  CHECK(turns() == Backends{{node, 8080, meshAddressOf(node)}, {node, 8080, meshAddressOf(node)}});
  table.activate(one);
  CHECK(turns() == Backends{{one.address, 80}});
  CHECK(table.everything()[0].after->here == 1);
  table.deactivate(one);
  CHECK(turns() == Backends{{node, 8080, meshAddressOf(node)}, {node, 8080, meshAddressOf(node)}});
}

std::string refusalOf(kj::Function<void(Config::Builder)> change) {
  capnp::MallocMessageBuilder message;
  auto config = message.initRoot<Config>();
  change(config);
  NodeFacts node;
  node.runDir = kj::str("/run");
  node.instance = kj::str("network.ingress");
  auto outcome = attemptNow([&] { return layoutOf(config.asReader(), node); });
  return outcome.ok() ? "" : outcome.message().cStr();
}

TEST_CASE("ingress: settings that cannot be used are refused by name", "[network]") {
  CHECK(refusalOf([](auto) {}) == "");
  CHECK(refusalOf([](auto c) { c.setDevice("sixteen-letters1"); }).rfind("'device' cannot", 0) ==
        0);
  CHECK(refusalOf([](auto c) { c.setTable("-x"); }).rfind("'table' cannot be", 0) == 0);
  CHECK(refusalOf([](auto c) { c.setAddress("here"); }).rfind("'address' cannot be", 0) == 0);
}

TEST_CASE("ingress: what a manager says is taken as a whole or not at all", "[network]") {
  capnp::MallocMessageBuilder message;
  auto change = message.initRoot<schema::MeshChange>();
  auto node = change.initNodes(1)[0];
  node.setNodeId("node");
  node.setAddress("not an address");
  CHECK_THROWS(newsOf(change));
  node.setAddress("192.168.0.2");
  CHECK(newsOf(change).nodes.at("node").address == *parseIpv4("192.168.0.2"));
  node.initPorts(1)[0].setTasks(1);
  CHECK_THROWS(newsOf(change));
}

}  // namespace
}  // namespace orch::network::ingress
