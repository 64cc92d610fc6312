#include "binpack.h"

#include <catch2/catch.hpp>

#include "lib/testing/table-fixture.h"

namespace orch::scheduler::binpack {
namespace {

constexpr uint64_t GIB = 1 << 30;
using Placed = std::vector<std::string>;

Table tableOf(const std::vector<Load>& loads) { return scheduler::tableOf<RANKING>(loads); }

TEST_CASE("binpack: the fullest node that has room", "[scheduler]") {
  auto table = tableOf({{.id = "a", .availableMemory = GIB / 2},
                        {.id = "b", .availableMemory = GIB / 4},
                        {.id = "c", .availableMemory = GIB / 8}});
  CHECK(scheduler::place(table, {.memory = GIB / 4}) == Placed{"b"});
  CHECK(scheduler::place(table, {.memory = GIB / 8}) == Placed{"c"});
}

TEST_CASE("binpack: a node is filled before the next is begun", "[scheduler]") {
  auto table = tableOf({{"a"}, {"b"}, {"c"}});
  auto placed = scheduler::place(table, {.count = 12, .cpu = 1'000'000'000});
  REQUIRE(placed.size() == 12);
  for (size_t i = 0; i < placed.size(); ++i) CHECK(placed[i] == placed[i / 4 * 4]);
}

TEST_CASE("binpack: cores and memory count alike", "[scheduler]") {
  auto table = tableOf({{.id = "a", .availableCpu = 1'000'000'000},
                        {.id = "b", .availableCpu = 2'000'000'000, .availableMemory = GIB / 4}});
  // 75 % of one against 50 % and 75 %.
  CHECK(scheduler::place(table, {.candidates = {"a", "b"}}) == Placed{"b"});
}

TEST_CASE("binpack: of those that reserve nothing the one with the most tasks", "[scheduler]") {
  auto table = tableOf({{"a", 3}, {"b", 7}, {"c", 5}});
  CHECK(scheduler::place(table, {.count = 3}) == Placed{"b", "b", "b"});
}

TEST_CASE("binpack: a node that keeps failing is the last choice", "[scheduler]") {
  auto table = tableOf({{"a", 3}, {"b", 7, 7, 5}, {"c", 5}});
  CHECK(scheduler::place(table, {}) == Placed{"c"});
}

TEST_CASE("binpack: a wish comes before the fullest node", "[scheduler]") {
  auto table = tableOf({{"a"}, {.id = "b", .availableCpu = 1'000'000'000}});
  CHECK(scheduler::place(table, {.candidates = {"a", "b"}}) == std::vector<std::string>{"b"});
  CHECK(scheduler::place(table, {.candidates = {"a", "b"}, .wishes = {{1, {"a"}}}}) ==
        std::vector<std::string>{"a"});
}

TEST_CASE("binpack: of equal nodes the one that has the image", "[scheduler]") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    auto table = tableOf({{"a", 3}, {.id = "b", .tasks = 3, .image = true}, {"c", 3}});
    CHECK(scheduler::place(table, {.count = 2, .seed = seed}) == Placed{"b", "b"});
    auto fuller = tableOf({{"a", 4}, {.id = "b", .tasks = 3, .image = true}});
    CHECK(scheduler::place(fuller, {.seed = seed, .candidates = {"a", "b"}}) == Placed{"a"});
  }
}

TEST_CASE("binpack: no more than there is room for, whatever that is of", "[scheduler]") {
  auto table = tableOf({{.id = "a", .tasks = 9, .room = 2}, {"b", 3}, {"c", 1}});
  CHECK(scheduler::place(table, {.count = 4}) == Placed{"a", "a", "b", "b"});
}

}  // namespace
}  // namespace orch::scheduler::binpack
