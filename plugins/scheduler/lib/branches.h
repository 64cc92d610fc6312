// The nodes as a tree: by the values of a service's first spread preference, within each by those
// of the next. Made once for all services that prefer the same.
#pragma once

#include <map>
#include <vector>

#include "lib/node-columns.h"

namespace orch::scheduler {

struct Branches {
  static constexpr uint32_t NONE = UINT32_MAX;
  struct Branch {
    uint32_t parent = NONE;
    uint32_t number = 0;  // of the value
    std::vector<uint32_t> children;
    std::vector<uint64_t> nodes;  // a bit each; of one without children
  };
  using Division = std::vector<uint32_t>;  // by node

  // Nodes that a level says nothing of are in no branch.
  Branches(const NodeColumns& nodes, const std::vector<const Division*>& levels);

  std::vector<Branch> all;       // the root first
  std::vector<uint32_t> leafOf;  // by node
};

}  // namespace orch::scheduler
