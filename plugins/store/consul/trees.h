// Many keys as few prefixes, since consul lists what begins alike, and knows no pages. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace orch::store::consul {

// What is asked for in one transaction.
using Trees = std::vector<std::string>;  // prefixes

// `keys`: sorted, each once. Together the prefixes have all of them. Of each element they are at
// most `mostTrees`, with at most `mostKeys` keys, unless more have nothing in which they differ
// before one of them ends. A prefix ends between two characters of UTF-8.
std::vector<Trees> treesOf(const std::vector<std::string>& keys, size_t mostKeys, size_t mostTrees);

}  // namespace orch::store::consul
