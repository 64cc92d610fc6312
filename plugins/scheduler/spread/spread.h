// The node with the fewest tasks of the same service, then the fewest tasks at all.
#pragma once

#include "lib/ranking.h"

namespace orch::scheduler::spread {

inline constexpr Ranking RANKING = {
    .names = {"failing", WISHES, "tasks of the service", "tasks"},
    .rank = [](const Standing& node, uint32_t failureLimit) -> Terms {
      return {node.recentFailures >= failureLimit, static_cast<int64_t>(node.unmetWishes),
              node.ofService, node.tasks};
    },
    .prefers = true};

}  // namespace orch::scheduler::spread
