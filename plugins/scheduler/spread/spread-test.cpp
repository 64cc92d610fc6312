#include "spread.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <set>

namespace orch::scheduler::spread {
namespace {

struct Load {
  const char* id;
  uint32_t tasks;
  uint32_t ofService;
  uint32_t failures;
};

SpreadTable tableOf(std::initializer_list<Load> loads) {
  SpreadTable table(5);
  for (auto& load : loads) {
    capnp::MallocMessageBuilder message;
    auto node = message.initRoot<schema::NodeLoad>();
    node.setId(load.id);
    node.setTasks(load.tasks);
    node.setAvailableCpuNanos(4'000'000'000);
    node.setAvailableMemoryBytes(1 << 30);
    auto service = node.initServices(1)[0];
    service.setServiceId("web");
    service.setTasks(load.ofService);
    service.setRecentFailures(load.failures);
    table.put(node);
  }
  return table;
}

std::vector<std::string> place(SpreadTable& table, uint32_t count, uint64_t seed = 1,
                               uint64_t memory = 0, uint32_t most = 0) {
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  group.setServiceId("web");
  group.setReserveMemoryBytes(memory);
  group.setMaxPerNode(most);
  auto candidates = group.initCandidates(3);
  candidates.set(0, "a");
  candidates.set(1, "b");
  candidates.set(2, "c");
  return table.place(group, count, seed);
}

TEST_CASE("spread: fewest tasks of the service first", "[scheduler]") {
  auto table = tableOf({{"a", 9, 0, 0}, {"b", 1, 1, 0}, {"c", 2, 2, 0}});
  CHECK(place(table, 1) == std::vector<std::string>{"a"});
}

TEST_CASE("spread: then the emptiest node", "[scheduler]") {
  auto table = tableOf({{"a", 9, 1, 0}, {"b", 3, 1, 0}, {"c", 8, 1, 0}});
  CHECK(place(table, 1) == std::vector<std::string>{"b"});
}

TEST_CASE("spread: nine tasks on three empty nodes are three on each", "[scheduler]") {
  auto table = tableOf({{"a", 0, 0, 0}, {"b", 0, 0, 0}, {"c", 0, 0, 0}});
  auto placed = place(table, 9);
  REQUIRE(placed.size() == 9);
  std::multiset<std::string> byNode(placed.begin(), placed.end());
  CHECK(byNode.count("a") == 3);
  CHECK(byNode.count("b") == 3);
  CHECK(byNode.count("c") == 3);
}

TEST_CASE("spread: a node that keeps failing is the last choice", "[scheduler]") {
  auto table = tableOf({{"a", 0, 0, 5}, {"b", 9, 3, 4}, {"c", 9, 4, 0}});
  CHECK(place(table, 1) == std::vector<std::string>{"b"});
}

TEST_CASE("spread: a node without room for the reservation is passed over", "[scheduler]") {
  auto table = tableOf({{"a", 0, 0, 0}, {"b", 0, 0, 0}, {"c", 0, 0, 0}});
  CHECK(place(table, 4, 1, (1 << 30) - 1).size() == 3);
}

TEST_CASE("spread: at most so many per node", "[scheduler]") {
  auto table = tableOf({{"a", 0, 0, 0}, {"b", 0, 1, 0}, {"c", 0, 2, 0}});
  CHECK(place(table, 9, 1, 0, 2).size() == 3);
}

TEST_CASE("spread: the seed decides between equals, and the same seed the same way",
          "[scheduler]") {
  std::set<std::string> firsts;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    auto one = tableOf({{"a", 0, 0, 0}, {"b", 0, 0, 0}, {"c", 0, 0, 0}});
    auto two = one;
    auto placed = place(one, 2, seed);
    CHECK(placed == place(two, 2, seed));
    firsts.insert(placed[0]);
  }
  CHECK(firsts.size() == 3);
}

}  // namespace
}  // namespace orch::scheduler::spread
