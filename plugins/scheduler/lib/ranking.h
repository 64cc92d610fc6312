// What tells one strategy from another: by what candidates are compared. Everything else, who fits
// and how a group is given out, is placement-table.h's.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace orch::scheduler {

// How a node stands for the next task of a group.
struct Standing {
  uint32_t ofService = 0;       // tasks of the service there
  uint32_t tasks = 0;           // of all
  uint32_t recentFailures = 0;  // of the service's
  uint64_t unmetWishes = 0;     // what the wishes of the service weigh that it does not meet
  uint64_t totalCpuNanos = 0;
  uint64_t totalMemoryBytes = 0;
  uint64_t reservedCpuNanos = 0;  // with the next task
  uint64_t reservedMemoryBytes = 0;
};

inline constexpr size_t TERMS = 4;
using Terms = std::array<int64_t, TERMS>;  // the lower the better; the first that differs decides

// Name of the term of unmetWishes, which is not shown of a service without wishes.
inline constexpr const char* WISHES = "weight of wishes not met";

struct Ranking {
  std::array<const char*, TERMS> names;  // null: it has fewer terms
  Terms (*rank)(const Standing& standing, uint32_t failureLimit);
  // Tasks are first spread over the branches of the service's preferences.
  bool prefers = false;
  // Equals are drawn anew for every task; otherwise once for a group, those that have its image
  // before the others.
  bool draws = false;
};

}  // namespace orch::scheduler
