// Any node, each as likely as the others.
#pragma once

#include "lib/ranking.h"

namespace orch::scheduler::random {

inline constexpr Ranking RANKING = {
    .names = {"failing", nullptr, nullptr},
    .rank = [](const Standing& node, uint32_t failureLimit) -> Terms {
      return {node.recentFailures >= failureLimit, 0, 0};
    },
    .draws = true};

}  // namespace orch::scheduler::random
