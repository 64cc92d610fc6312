// The node that is fullest with the task on it: by what is reserved of its cores and memory, as
// classic Swarm counted it, then by its number of tasks.
#pragma once

#include "lib/ranking.h"

namespace orch::scheduler::binpack {

// In millionths.
inline int64_t partOf(uint64_t reserved, uint64_t total) {
  return total == 0 ? 0 : static_cast<int64_t>(1e6 * static_cast<double>(reserved) / total);
}

inline constexpr Ranking RANKING = {
    .names = {"failing", WISHES, "millionths of cores and memory reserved, negated",
              "tasks, negated"},
    .rank = [](const Standing& node, uint32_t failureLimit) -> Terms {
      int64_t full = partOf(node.reservedCpuNanos, node.totalCpuNanos) +
                     partOf(node.reservedMemoryBytes, node.totalMemoryBytes);
      return {node.recentFailures >= failureLimit, static_cast<int64_t>(node.unmetWishes), -full,
              -static_cast<int64_t>(node.tasks)};
    }};

}  // namespace orch::scheduler::binpack
