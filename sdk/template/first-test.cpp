#include "first.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

namespace orch::scheduler::first {
namespace {

// Nodes of four processors, with so many of them free.
FirstTable tableOf(uint32_t sparePercent,
                   std::initializer_list<std::pair<const char*, int>> nodes) {
  FirstTable table(sparePercent);
  uint32_t number = 0;
  for (auto& [id, cores] : nodes) {
    capnp::MallocMessageBuilder message;
    auto node = message.initRoot<schema::NodeLoad>();
    node.setId(id);
    node.setNumber(number++);
    node.setTotalCpuNanos(4'000'000'000);
    node.setAvailableCpuNanos(cores * 1'000'000'000ull);
    table.put(node);
  }
  return table;
}

// Tasks of one processor each.
std::vector<uint32_t> place(FirstTable& table, uint32_t count) {
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  group.setServiceId("web");
  group.setReserveCpuNanos(1'000'000'000);
  group.initCandidates(1).set(0, 0b11);  // both
  return table.place(group, count);
}

TEST_CASE("first: fills one node after the other", "[scheduler]") {
  auto table = tableOf(0, {{"a", 2}, {"b", 4}});
  CHECK(place(table, 3) == std::vector<uint32_t>{0, 0, 1});
  CHECK(place(table, 9) == std::vector<uint32_t>{1, 1, 1});
}

TEST_CASE("first: leaves a share of each node free", "[scheduler]") {
  auto table = tableOf(50, {{"a", 4}, {"b", 2}});
  CHECK(place(table, 9) == std::vector<uint32_t>{0, 0});
}

}  // namespace
}  // namespace orch::scheduler::first
