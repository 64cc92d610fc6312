#include "lib/branches.h"

#include <algorithm>

namespace orch::scheduler {

Branches::Branches(const NodeColumns& nodes, const std::vector<const Division*>& levels)
    : all(1), leafOf(nodes.size(), NONE) {
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> known;  // parent and number
  for (uint32_t node = 0; node < nodes.size(); ++node) {
    bool placed = nodes.has(node) && std::all_of(levels.begin(), levels.end(),
                                                 [&](auto level) { return node < level->size(); });
    if (!placed) continue;
    uint32_t at = 0;
    for (auto level : levels) {
      auto number = (*level)[node];
      auto [it, isNew] = known.try_emplace({at, number}, static_cast<uint32_t>(all.size()));
      if (isNew) {
        all[at].children.push_back(it->second);
        all.push_back({at, number, {}, {}});
      }
      at = it->second;
    }
    auto& words = all[at].nodes;
    if (node / 64 >= words.size()) words.resize(node / 64 + 1, 0);
    words[node / 64] |= uint64_t(1) << node % 64;
    leafOf[node] = at;
  }
}

}  // namespace orch::scheduler
