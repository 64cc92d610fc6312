// The best of many nodes, which is all that a call has to know of: so many tasks never go to more
// nodes than that.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>
#include <vector>

#include "lib/node-columns.h"

namespace orch::scheduler {

struct Ranked {
  Terms terms;
  bool fetches = false;  // the image, which others of the same terms have
  double drawn = 0;      // the tie, if it is drawn anew for every task
  uint64_t tie = 0;      // or once
  uint32_t node = 0;
  uint32_t taken = 0;  // in this call
  bool isBefore(const Ranked& other) const {
    return std::tie(terms, fetches, drawn, tie) <
           std::tie(other.terms, other.fetches, other.drawn, other.tie);
  }
};
inline bool bestFirst(const Ranked& a, const Ranked& b) { return a.isBefore(b); }   // worst on top
inline bool worstFirst(const Ranked& a, const Ranked& b) { return b.isBefore(a); }  // best on top

// Breaks ties evenly between nodes and differently for every seed (splitmix64).
inline uint64_t shuffled(uint64_t value) {
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

// How long until the next of events that come at random, once in a while on average.
inline double interval(uint64_t seed) {
  auto chance = static_cast<double>((seed >> 11) + 1) / (1ull << 53);
  return -std::log(chance);
}

// At most `most` of those in both sets that have room, as a heap with the best on top. Compiled
// for each ranking: the loop is what a placement costs on a large cluster.
using FindBest = std::vector<Ranked> (*)(const NodeColumns& nodes, const Call& call,
                                         const std::vector<uint64_t>& candidates,
                                         const std::vector<uint64_t>& within, size_t most);

template <const Ranking& RANKING>
std::vector<Ranked> findBest(const NodeColumns& nodes, const Call& call,
                             const std::vector<uint64_t>& candidates,
                             const std::vector<uint64_t>& within, size_t most) {
  std::vector<Ranked> best;
  if (most == 0) return best;
  size_t words = std::min(candidates.size(), within.size());
  for (size_t i = 0; i < words; ++i) {
    for (uint64_t left = candidates[i] & within[i]; left != 0; left &= left - 1) {
      auto node = static_cast<uint32_t>(i * 64 + std::countr_zero(left));
      if (!call.fits(nodes, node)) continue;
      Ranked one;
      one.terms = RANKING.rank(call.standing(nodes, node), call.failureLimit);
      bool full = best.size() == most;
      if (full && one.terms > best.front().terms) continue;
      auto own = shuffled(call.seed ^ nodes.hashes[node]);
      if (RANKING.draws) {
        one.drawn = interval(own);
      } else {
        one.fetches = call.fetches(node);
        one.tie = own;
      }
      one.node = node;
      if (!full) {
        best.push_back(one);
        if (best.size() == most) std::make_heap(best.begin(), best.end(), bestFirst);
      } else if (one.isBefore(best.front())) {
        std::pop_heap(best.begin(), best.end(), bestFirst);
        best.back() = one;
        std::push_heap(best.begin(), best.end(), bestFirst);
      }
    }
  }
  std::make_heap(best.begin(), best.end(), worstFirst);
  return best;
}

}  // namespace orch::scheduler
