// Any node, each as likely as the others.
#pragma once

#include "lib/ranking.h"

namespace orch::scheduler::random {

inline constexpr Ranking RANKING = {
    .names = {"failing", WISHES, nullptr, nullptr},
    .rank = [](const Standing& node, uint32_t failureLimit) -> Terms {
      return {node.recentFailures >= failureLimit, static_cast<int64_t>(node.unmetWishes), 0, 0};
    },
    .draws = true};

}  // namespace orch::scheduler::random
