#include "random.h"

#include <catch2/catch.hpp>

#include <map>

#include "lib/testing/table-fixture.h"

namespace orch::scheduler::random {
namespace {

TEST_CASE("random: every task is drawn by itself, each node as likely", "[scheduler]") {
  constexpr uint32_t TASKS = 30'000;
  std::map<std::string, uint32_t> counts;
  std::map<std::pair<std::string, std::string>, uint32_t> pairs;
  auto table = scheduler::tableOf<RANKING>({{"a", 90, 9}, {"b"}, {"c"}});
  auto placed = scheduler::place(table, {.count = TASKS});
  REQUIRE(placed.size() == TASKS);
  for (uint32_t i = 0; i < TASKS; ++i) {
    ++counts[placed[i]];
    if (i > 0) ++pairs[{placed[i - 1], placed[i]}];
  }
  // Within five standard deviations of a third, and of a ninth; the seed is always the same.
  for (auto& [id, count] : counts) CHECK(std::abs(int(count) - int(TASKS / 3)) < 410);
  REQUIRE(pairs.size() == 9);
  for (auto& [pair, count] : pairs) CHECK(std::abs(int(count) - int(TASKS / 9)) < 275);
}

TEST_CASE("random: other seeds, other nodes", "[scheduler]") {
  std::map<std::string, uint32_t> firsts;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    auto table = scheduler::tableOf<RANKING>({{"a"}, {"b"}, {"c"}});
    ++firsts[scheduler::place(table, {.seed = seed})[0]];
  }
  CHECK(firsts.size() == 3);
  for (auto& [id, count] : firsts) CHECK(count > 60);
}

TEST_CASE("random: who has the image is drawn as often as others", "[scheduler]") {
  std::map<std::string, uint32_t> firsts;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    auto table = scheduler::tableOf<RANKING>({{.id = "a", .image = true}, {"b"}, {"c"}});
    ++firsts[scheduler::place(table, {.seed = seed})[0]];
  }
  for (auto& [id, count] : firsts) CHECK(count > 60);
}

}  // namespace
}  // namespace orch::scheduler::random
