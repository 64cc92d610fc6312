// The parts without a kernel: pool, records, turns, settings.
#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <fstream>

#include "layout.h"
#include "lib/record-files.h"
#include "lib/turns.h"
#include "orch/attempt.h"
#include "orch/testing/test-host.h"
#include "pool.h"
#include "record.h"

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

TEST_CASE("network: a record is read as it was written, whole or not at all", "[network]") {
  TaskRecord record{"task1", *parseIpv4("10.0.0.2")};
  auto text = encodeRecord(record);
  CHECK(decodeRecord("task1", text) == record);
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    CHECK_FALSE(decodeRecord("task1", text.substr(0, size)));
  }
  CHECK_FALSE(decodeRecord("task1", "orch-network-task 3" + text.substr(19)));
}

TEST_CASE("network: records of a folder, with those that are damaged", "[network]") {
  testing::TestFolder folder("network-records");
  std::string path = folder.path().cStr();
  TaskRecord record{"task1", *parseIpv4("10.0.0.2")};
  writeRecord(path, record);
  std::ofstream(path + "/task2") << "orch-network-task 2\naddress 10.0.0.3\n";
  std::ofstream(path + "/.newtask3") << "orch";
  auto read = readRecords(path);
  CHECK(read.records == std::vector<TaskRecord>{record});
  CHECK(read.damaged == std::vector<std::string>{"task2"});
  removeRecordFile(path, "task1");
  removeRecordFile(path, "task1");
  CHECK(readRecords(path).records.empty());
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
