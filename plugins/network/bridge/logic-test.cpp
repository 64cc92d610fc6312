// The parts without a kernel: pool, records, port table, turns, settings.
#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>

#include <fstream>

#include "layout.h"
#include "lib/turns.h"
#include "orch/attempt.h"
#include "orch/testing/test-host.h"
#include "pool.h"
#include "port-table.h"

namespace orch::network::bridge {
namespace {

TEST_CASE("network: an address that was given back is given last", "[network]") {
  AddressPool pool(*parseSubnet("10.0.0.0/29"));
  CHECK(pool.total() == 5);
  Ipv4 first = *parseIpv4("10.0.0.2");
  for (Ipv4 i = 0; i < 5; ++i) CHECK(pool.take() == first + i);
  CHECK_FALSE(pool.take());
  pool.giveBack(first + 3);
  pool.giveBack(first + 1);
  CHECK(pool.take() == first + 1);
  CHECK(pool.take() == first + 3);
  CHECK_FALSE(pool.take());
  CHECK(pool.inUse() == 5);
}

TEST_CASE("network: only tasks' addresses can be taken by name", "[network]") {
  AddressPool pool(*parseSubnet("10.0.0.0/29"));
  for (auto text : {"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.8", "9.255.255.255"}) {
    CHECK_FALSE(pool.take(*parseIpv4(text)));
  }
  CHECK(pool.take(*parseIpv4("10.0.0.2")));
  CHECK_FALSE(pool.take(*parseIpv4("10.0.0.2")));
  CHECK(pool.take() == *parseIpv4("10.0.0.3"));
  CHECK_THROWS(pool.giveBack(*parseIpv4("10.0.0.6")));
}

TaskRecord recordOf(const char* id, const char* address, std::vector<TaskPort> ports) {
  return {id, "service", *parseIpv4(address), false, std::move(ports)};
}

TEST_CASE("network: a record is read as it was written, whole or not at all", "[network]") {
  auto record = recordOf("task1", "10.0.0.2",
                         {{80, 8080, IPPROTO_TCP, false}, {53, 40000, IPPROTO_UDP, true}});
  record.active = true;
  auto text = encodeRecord(record);
  CHECK(decodeRecord("task1", text) == record);
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    CHECK_FALSE(decodeRecord("task1", text.substr(0, size)));
  }
  CHECK_FALSE(decodeRecord("task1", "orch-network-task 2" + text.substr(19)));
}

TEST_CASE("network: records of a folder, with those that are damaged", "[network]") {
  testing::TestFolder folder("network-records");
  std::string path = folder.path().cStr();
  auto record = recordOf("task1", "10.0.0.2", {});
  writeRecord(path, record);
  std::ofstream(path + "/task2") << "orch-network-task 1\naddress 10.0.0.3\n";
  std::ofstream(path + "/.newtask3") << "orch";
  auto read = readRecords(path);
  CHECK(read.records == std::vector<TaskRecord>{record});
  CHECK(read.damaged == std::vector<std::string>{"task2"});
  removeRecord(path, "task1");
  removeRecord(path, "task1");
  CHECK(readRecords(path).records.empty());
}

const PortKey WEB{IPPROTO_TCP, 8080};

TEST_CASE("network: the table tells the kernel the least that leads there", "[network]") {
  PortTable table;
  auto one = recordOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
  auto two = recordOf("two", "10.0.0.3", {{80, 8080, IPPROTO_TCP, false}});
  auto three = recordOf("three", "10.0.0.4", {{81, 8080, IPPROTO_TCP, false}});
  for (auto* record : {&one, &two, &three}) {
    table.publish(*record);
    table.activate(*record);
    table.activate(*record);
  }
  auto changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK_FALSE(changes[0].before);
  CHECK(changes[0].after->size() == 3);
  table.confirm(changes);
  CHECK(table.changes().empty());

  table.deactivate(one);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  // The last takes the turn of the one that went.
  CHECK(*changes[0].after == Backends{{three.address, 81}, {two.address, 80}});
  table.activate(one);  // meanwhile
  table.confirm(changes);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].after->size() == 3);
  table.confirm(changes);

  for (auto* record : {&one, &two, &three}) table.withdraw(*record);
  table.withdraw(one);
  changes = table.changes();
  REQUIRE(changes.size() == 1);
  CHECK_FALSE(changes[0].after);
  table.confirm(changes);
  CHECK(table.changes().empty());
  CHECK_FALSE(table.published(WEB));
}

TEST_CASE("network: after a rebuild the kernel has what was given and nothing else", "[network]") {
  PortTable table;
  auto one = recordOf("one", "10.0.0.2", {{80, 8080, IPPROTO_TCP, false}});
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

TEST_CASE("network: a host port is one task's, an ingress port is shared", "[network]") {
  PortTable table;
  TaskPort ingress{80, 8080, IPPROTO_TCP, false};
  TaskPort host{80, 8080, IPPROTO_TCP, true};
  TaskPort udp{80, 8080, IPPROTO_UDP, true};
  auto one = recordOf("one", "10.0.0.2", {ingress});
  table.publish(one);
  CHECK_FALSE(table.conflict(ingress));
  CHECK(table.conflict(host) == "one");
  CHECK_FALSE(table.conflict(udp));
  table.withdraw(one);
  CHECK_FALSE(table.conflict(host));
  table.publish(recordOf("two", "10.0.0.2", {host}));
  CHECK(table.conflict(ingress) == "two");
}

TEST_CASE("network: turns are taken in order, and one that is not wanted is passed on",
          "[network]") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  Turns turns;
  auto first = turns.take("a");
  auto second = turns.take("a");
  auto third = turns.take("a");
  auto other = turns.take("b");
  CHECK(other.poll(scope));
  {
    auto turn = first.wait(scope);
    CHECK_FALSE(second.poll(scope));
    { auto dropped = kj::mv(second); }
    CHECK_FALSE(third.poll(scope));
  }
  CHECK(third.poll(scope));
  { auto turn = third.wait(scope); }
  CHECK(turns.take("a").poll(scope));
}

std::string refusalOf(kj::Function<void(Config::Builder)> change) {
  capnp::MallocMessageBuilder message;
  auto config = message.initRoot<Config>();
  change(config);
  NodeFacts node;
  node.runDir = kj::str("/run");
  node.instance = kj::str("network.bridge#lab");
  auto outcome = attemptNow([&] { return layoutOf(config.asReader(), node); });
  return outcome.ok() ? outcome.value().network : std::string(outcome.message().cStr());
}

TEST_CASE("network: settings that cannot be used are refused by name", "[network]") {
  CHECK(refusalOf([](auto) {}) == "lab");
  CHECK(refusalOf([](auto c) { c.setSubnet("10.0.0.0/30"); }).rfind("'subnet' cannot be", 0) == 0);
  CHECK(refusalOf([](auto c) { c.setSubnet("10.0.0.1/24"); }).rfind("'subnet' cannot be", 0) == 0);
  CHECK(refusalOf([](auto c) { c.setBridge("sixteen-letters1"); }).rfind("'bridge'", 0) == 0);
  CHECK(refusalOf([](auto c) { c.setTable(""); }).rfind("'table' cannot be", 0) == 0);
}

TEST_CASE("network: a device's name fits and tells tasks and bridges apart", "[network]") {
  Layout one;
  one.bridge = "orch0";
  Layout two;
  two.bridge = "orch1";
  CHECK(one.deviceOf("task").size() == 15);
  CHECK(one.deviceOf("task") == one.deviceOf("task"));
  CHECK(one.deviceOf("task") != one.deviceOf("tasl"));
  CHECK(one.deviceOf("task") != two.deviceOf("task"));
}

}  // namespace
}  // namespace orch::network::bridge
