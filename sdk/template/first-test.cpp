#include "first.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

namespace orch::scheduler::first {
namespace {

// Nodes of four processors, with so many of them free.
FirstTable tableOf(uint32_t sparePercent,
                   std::initializer_list<std::pair<const char*, int>> nodes) {
  FirstTable table(sparePercent);
  for (auto& [id, cores] : nodes) {
    capnp::MallocMessageBuilder message;
    auto node = message.initRoot<schema::NodeLoad>();
    node.setId(id);
    node.setTotalCpuNanos(4'000'000'000);
    node.setAvailableCpuNanos(cores * 1'000'000'000ull);
    table.put(node);
  }
  return table;
}

// Tasks of one processor each.
std::vector<std::string> place(FirstTable& table, uint32_t count) {
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  group.setServiceId("web");
  group.setReserveCpuNanos(1'000'000'000);
  auto candidates = group.initCandidates(2);
  candidates.set(0, "b");
  candidates.set(1, "a");
  return table.place(group, count);
}

TEST_CASE("first: fills one node after the other", "[scheduler]") {
  auto table = tableOf(0, {{"a", 2}, {"b", 4}});
  CHECK(place(table, 3) == std::vector<std::string>{"a", "a", "b"});
  CHECK(place(table, 9) == std::vector<std::string>{"b", "b", "b"});
}

TEST_CASE("first: leaves a share of each node free", "[scheduler]") {
  auto table = tableOf(50, {{"a", 4}, {"b", 2}});
  CHECK(place(table, 9) == std::vector<std::string>{"a", "a"});
}

}  // namespace
}  // namespace orch::scheduler::first
