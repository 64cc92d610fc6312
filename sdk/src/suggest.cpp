#include "orch/suggest.h"

#include <kj/vector.h>

#include <algorithm>
#include <vector>

namespace orch {

namespace {

constexpr size_t MAX_TYPED = 64;
constexpr size_t MAX_LISTED = 6;

struct Nearest {
  kj::StringPtr name;
  size_t steps;
};
Nearest nearestOf(kj::StringPtr typed, kj::ArrayPtr<const kj::StringPtr> known) {
  kj::StringPtr best;
  size_t bestSteps = ~size_t(0);
  for (kj::StringPtr name : known) {
    size_t steps = stepsBetween(typed, name);
    bool near = steps <= std::max<size_t>(1, name.size() / 4) && steps < name.size() &&
                steps < typed.size();
    if (!near || steps >= bestSteps) continue;
    best = name;
    bestSteps = steps;
  }
  return {best, bestSteps};
}

}  // namespace

// The optimal string alignment distance.
size_t stepsBetween(kj::StringPtr a, kj::StringPtr b) {
  size_t width = b.size() + 1;
  std::vector<size_t> table((a.size() + 1) * width);
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      size_t& cell = table[i * width + j];
      if (i == 0 || j == 0) {
        cell = i + j;
        continue;
      }
      size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      cell = std::min({table[(i - 1) * width + j] + 1, table[i * width + j - 1] + 1,
                       table[(i - 1) * width + j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cell = std::min(cell, table[(i - 2) * width + j - 2] + 1);
      }
    }
  }
  return table.back();
}

kj::String suggestion(kj::StringPtr typed, kj::ArrayPtr<const kj::StringPtr> known,
                      kj::StringPtr prefix) {
  if (typed.size() == 0 || typed.size() > MAX_TYPED) return kj::String();
  kj::Vector<kj::String> found;
  for (kj::StringPtr name : known) {
    bool begins = typed.size() >= 3 && name.startsWith(typed);
    if (begins) found.add(kj::str("'", prefix, name, "'"));
  }
  auto nearest = nearestOf(typed, known);
  if (nearest.steps == 1 || (found.size() == 0 && nearest.name.size() > 0)) {
    return kj::str("; did you mean '", prefix, nearest.name, "'?");
  }
  if (found.size() == 1) return kj::str("; did you mean ", found[0], "?");
  bool few = found.size() > 0 && found.size() <= MAX_LISTED;
  return few ? kj::str("; there are ", kj::strArray(found, ", ")) : kj::String();
}

}  // namespace orch
