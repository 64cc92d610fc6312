// How a state lies on servers: what its keys and values have to be like.
#pragma once

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace orch::store {

using KindsAndKeys = std::vector<std::pair<std::string, std::string>>;

// Keys of objects are in the order of these, and are read back.
template <typename Layout>
void checkOrder(const Layout& layout, KindsAndKeys names) {
  auto sorted = names;
  std::sort(sorted.begin(), sorted.end());
  std::sort(names.begin(), names.end(), [&](auto& one, auto& other) {
    return layout.object(one.first, one.second) < layout.object(other.first, other.second);
  });
  CHECK(names == sorted);
  for (auto& [kind, key] : names) {
    auto read = layout.nameOf(layout.object(kind, key));
    REQUIRE(read);
    CHECK((read->kind == kind && read->key == key));
  }
}

// No damaged value is `taken`, whichever bit is another, wherever it ends.
template <typename Taken>
void checkDamage(const std::string& value, Taken&& taken) {
  for (size_t i = 0; i < value.size() * 8; ++i) {
    auto flipped = value;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    CHECK(!taken(flipped));
  }
  for (size_t i = 0; i < value.size(); ++i) {
    auto cut = value.substr(0, i);
    CHECK(!taken(cut));
  }
}

}  // namespace orch::store
