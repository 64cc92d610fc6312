#include "spread.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>
#include <tuple>

#include "lib/testing/table-fixture.h"

namespace orch::scheduler::spread {
namespace {

Table tableOf(const std::vector<Load>& loads) { return scheduler::tableOf<RANKING>(loads); }

std::vector<std::string> place(Table& table, uint32_t count, uint64_t seed = 1, uint64_t memory = 0,
                               uint32_t most = 0,
                               const std::vector<std::string>& names = {"a", "b", "c"}) {
  return scheduler::place(
      table, {.count = count, .seed = seed, .memory = memory, .most = most, .candidates = names});
}

TEST_CASE("spread: fewest tasks of the service first", "[scheduler]") {
  auto table = tableOf({{"a", 9, 0, 0}, {"b", 1, 1, 0}, {"c", 2, 2, 0}});
  CHECK(place(table, 1) == std::vector<std::string>{"a"});
}

TEST_CASE("spread: then the emptiest node", "[scheduler]") {
  auto table = tableOf({{"a", 9, 1, 0}, {"b", 3, 1, 0}, {"c", 8, 1, 0}});
  CHECK(place(table, 1) == std::vector<std::string>{"b"});
}

TEST_CASE("spread: of equal nodes the one that has the image, and no other before its turn",
          "[scheduler]") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    auto table = tableOf({{"a"}, {.id = "b", .image = true}, {"c"}});
    auto placed = place(table, 4, seed);
    CHECK(placed[0] == "b");
    CHECK(std::set<std::string>(placed.begin(), placed.begin() + 3).size() == 3);
    CHECK(placed[3] == "b");
    auto fuller = tableOf({{"a", 1}, {.id = "b", .tasks = 2, .image = true}, {"c", 2}});
    CHECK(place(fuller, 3, seed)[0] == "a");
    auto failing = tableOf({{"a", 9}, {.id = "b", .failures = 5, .image = true}, {"c", 9}});
    CHECK(place(failing, 1, seed)[0] != "b");
  }
}

TEST_CASE("spread: no more than there is room for, whatever that is of", "[scheduler]") {
  auto table = tableOf({{.id = "a", .room = 1}, {.id = "b", .room = 0}, {.id = "c", .tasks = 5}});
  auto placed = place(table, 6);
  CHECK(placed.size() == 6);
  CHECK(std::count(placed.begin(), placed.end(), "a") == 1);
  CHECK(std::count(placed.begin(), placed.end(), "b") == 0);
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

TEST_CASE("spread: wishes come first, by their weight, and refuse nobody", "[scheduler]") {
  using Placed = std::vector<std::string>;
  auto table = tableOf({{"a"}, {"b", 9, 3}, {.id = "c", .availableMemory = 2}});
  auto wish = Wish{.wishes = {{2, {"b"}}, {1, {"c"}}}};
  CHECK(scheduler::place(table, wish) == Placed{"b"});
  wish.wishes[1].first = 3;
  wish.memory = 1;
  wish.count = 3;
  CHECK(scheduler::place(table, wish) == Placed{"c", "c", "b"});
  wish.candidates = {"a"};
  CHECK(scheduler::place(table, wish) == Placed{"a", "a", "a"});
}

TEST_CASE("spread: a wish is no reason to stay with a node that keeps failing", "[scheduler]") {
  auto table = tableOf({{"a", 0, 0, 5}, {"b"}});
  CHECK(scheduler::place(table, {.wishes = {{9, {"a"}}}}) == std::vector<std::string>{"b"});
}

TEST_CASE("spread: wishes are explained if there are any", "[scheduler]") {
  auto table = tableOf({{"a"}, {"b"}});
  capnp::MallocMessageBuilder message;
  auto group = message.initRoot<schema::TaskGroup>();
  scheduler::fill(table, group, {.candidates = {"a", "b"}, .wishes = {{4, {"a"}}}});
  auto scores = table.table.explain(group);
  REQUIRE(scores.size() == 2);
  CHECK(scores[0].terms[1] == std::make_pair(std::string("weight of wishes not met"), int64_t(0)));
  CHECK(scores[1].terms[1].second == 4);
  scheduler::fill(table, group, {.candidates = {"a", "b"}});
  CHECK(table.table.explain(group)[0].terms.size() == 3);
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

// 200 nodes of all kinds of loads.
std::vector<Load> manyLoads() {
  std::vector<Load> loads;
  for (uint32_t i = 0; i < 200; ++i) {
    loads.push_back(
        {"node-" + std::to_string(i), i * 7 % 31 + i % 4, i % 4, i % 11 == 0 ? 5u : 0u});
  }
  return loads;
}

std::vector<std::string> namesOf(const std::vector<Load>& loads) {
  std::vector<std::string> names;
  for (auto& load : loads) names.push_back(load.id);
  return names;
}

TEST_CASE("spread: on 200 nodes each task goes to one of the best, however many there are",
          "[scheduler]") {
  auto loads = manyLoads();
  auto table = tableOf(loads);
  auto placed = place(table, 1000, 3, 0, 0, namesOf(loads));
  REQUIRE(placed.size() == 1000);
  auto rank = [](const Load& load) {
    return std::make_tuple(load.failures >= 5, load.ofService, load.tasks);
  };
  for (auto& id : placed) {
    Load* chosen = nullptr;
    Load* best = &loads[0];
    for (auto& load : loads) {
      if (rank(load) < rank(*best)) best = &load;
      if (load.id == id) chosen = &load;
    }
    REQUIRE(chosen != nullptr);
    REQUIRE(rank(*chosen) == rank(*best));
    ++chosen->tasks;
    ++chosen->ofService;
  }
}

TEST_CASE("spread: tasks one by one end where a group at once does", "[scheduler]") {
  auto loads = manyLoads();
  auto names = namesOf(loads);
  auto at = tableOf(loads), by = tableOf(loads);
  auto atOnce = place(at, 300, 5, 0, 0, names);
  std::vector<std::string> oneByOne;
  for (int i = 0; i < 300; ++i) {
    auto placed = place(by, 1, 5, 0, 0, names);
    oneByOne.insert(oneByOne.end(), placed.begin(), placed.end());
  }
  CHECK(atOnce == oneByOne);
}

TEST_CASE("spread: of 50 equal nodes every one is somebody's first", "[scheduler]") {
  std::vector<Load> loads;
  for (int i = 0; i < 50; ++i) loads.push_back({"n" + std::to_string(i), 0, 0, 0});
  std::set<std::string> firsts;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    auto table = tableOf(loads);
    firsts.insert(place(table, 1, seed, 0, 0, namesOf(loads))[0]);
  }
  CHECK(firsts.size() == 50);
}

}  // namespace
}  // namespace orch::scheduler::spread
