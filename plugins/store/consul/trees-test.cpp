// Which prefixes a load asks for.
#include "trees.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace orch::store::consul {
namespace {

size_t keysUnder(const std::vector<std::string>& keys, const Trees& trees) {
  size_t count = 0;
  for (auto& key : keys) {
    auto begins = [&](const std::string& tree) { return key.starts_with(tree); };
    count += std::count_if(trees.begin(), trees.end(), begins);
  }
  return count;
}

TEST_CASE("store.consul: a few keys are one prefix", "[store]") {
  CHECK(treesOf({}, 10, 10).empty());
  CHECK(treesOf({"task a", "task b"}, 10, 10) == std::vector<Trees>{{""}});
}

TEST_CASE("store.consul: many keys are pages, each key in one of them", "[store]") {
  std::vector<std::string> keys;
  for (int i = 0; i < 5000; ++i) keys.push_back("task " + std::to_string(1'000'000 + i * 37));
  for (int i = 0; i < 20; ++i) keys.push_back("service " + std::to_string(i));
  std::sort(keys.begin(), keys.end());
  auto pages = treesOf(keys, 100, 8);
  size_t all = 0;
  for (auto& page : pages) {
    CHECK(page.size() <= 8);
    auto count = keysUnder(keys, page);
    CHECK(count <= 100);
    all += count;
  }
  CHECK(all == keys.size());
  CHECK(pages.size() < 200);
}

TEST_CASE("store.consul: a key that others begin with is with them", "[store]") {
  auto pages = treesOf({"a", "ab", "ac", "b"}, 1, 10);
  CHECK(pages == std::vector<Trees>{{"a"}, {"b"}});
}

TEST_CASE("store.consul: no character is cut", "[store]") {
  auto pages = treesOf({"k\xc3\xa4", "k\xc3\xb6", "k\xc3\xbc"}, 1, 10);
  CHECK(pages == std::vector<Trees>{{"k\xc3\xa4"}, {"k\xc3\xb6"}, {"k\xc3\xbc"}});
}

}  // namespace
}  // namespace orch::store::consul
