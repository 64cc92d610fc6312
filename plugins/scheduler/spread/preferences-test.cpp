// Spread preferences: swarm mode's `--placement-pref spread=…`, of several levels.
#include <catch2/catch.hpp>

#include <map>

#include "lib/testing/table-fixture.h"
#include "spread.h"

namespace orch::scheduler::spread {
namespace {

std::map<std::string, uint32_t> counted(const std::vector<std::string>& placed) {
  std::map<std::string, uint32_t> counts;
  for (auto& id : placed) ++counts[id];
  return counts;
}

using Counts = std::map<std::string, uint32_t>;

TEST_CASE("preferences: as many tasks in each part, however many nodes it has", "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>({{"a"}, {"b"}, {"c"}});
  auto placed = scheduler::place(table, {.count = 8, .levels = {{0, 0, 1}}});
  CHECK(counted(placed) == Counts{{"a", 2}, {"b", 2}, {"c", 4}});
}

TEST_CASE("preferences: within a part evenly over those of the next level", "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>({{"a"}, {"b"}, {"c"}, {"d"}});
  // Two regions; the first has a zone of two nodes and one of one.
  auto placed = scheduler::place(
      table,
      {.count = 8, .candidates = {"a", "b", "c", "d"}, .levels = {{0, 0, 0, 1}, {0, 0, 1, 2}}});
  CHECK(counted(placed) == Counts{{"a", 1}, {"b", 1}, {"c", 2}, {"d", 4}});
}

TEST_CASE("preferences: what runs there counts, on nodes that take no more as well",
          "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>({{"a", 3, 3}, {"b"}});
  auto placed = scheduler::place(table, {.count = 3, .candidates = {"a", "b"}, .levels = {{0, 1}}});
  CHECK(counted(placed) == Counts{{"b", 3}});
  auto other = scheduler::tableOf<RANKING>({{"a"}, {"b"}, {"c", 2, 2}, {"d", 9, 9}});
  placed =
      scheduler::place(other, {.count = 4, .candidates = {"a", "b"}, .levels = {{0, 1, 0, 7}}});
  CHECK(counted(placed) == Counts{{"a", 1}, {"b", 3}});
}

TEST_CASE("preferences: a part without room leaves its share to the others", "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>(
      {{.id = "a", .availableMemory = 1 << 20}, {.id = "b"}, {.id = "c"}});
  auto placed = scheduler::place(table, {.count = 7, .memory = 1 << 20, .levels = {{0, 1, 2}}});
  CHECK(counted(placed) == Counts{{"a", 1}, {"b", 3}, {"c", 3}});
}

TEST_CASE("preferences: an unbalanced tree with a full branch ends, and places the rest",
          "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>({{"a"}, {"b"}, {"c"}, {"d"}});
  Wish wish{.count = 100,
            .most = 3,
            .candidates = {"a", "b", "c", "d"},
            .levels = {{0, 1, 1, 1}, {0, 0, 0, 1}}};
  CHECK(scheduler::place(table, wish).size() == 12);
  CHECK(scheduler::place(table, wish).empty());
}

TEST_CASE("preferences: explained by the parts first", "[scheduler]") {
  auto table = scheduler::tableOf<RANKING>({{"a", 4, 2}, {"b", 1, 1}, {"c"}});
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  scheduler::fill(table, group, {.levels = {{0, 0, 1}}});
  auto scores = table.table.explain(group);
  REQUIRE(scores.size() == 3);
  REQUIRE(scores[0].terms.size() == 4);
  CHECK(scores[0].terms[0].second == 3);
  CHECK(scores[0].terms[2] == std::make_pair(std::string("tasks of the service"), int64_t(2)));
  CHECK(scores[2].terms[0].second == 0);
  CHECK(scheduler::place(table, {.levels = {{0, 0, 1}}}) == std::vector<std::string>{"c"});
}

}  // namespace
}  // namespace orch::scheduler::spread
