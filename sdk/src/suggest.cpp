#include "orch/suggest.h"

#include <algorithm>
#include <vector>

namespace orch {

namespace {

// The optimal string alignment distance.
size_t distance(kj::StringPtr a, kj::StringPtr b) {
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

}  // namespace

kj::StringPtr nearest(kj::StringPtr mistyped, kj::ArrayPtr<const kj::StringPtr> known) {
  if (mistyped.size() == 0 || mistyped.size() > 64) return "";
  kj::StringPtr best = "";
  size_t bestSteps = ~size_t(0);
  for (kj::StringPtr name : known) {
    size_t allowed = std::max<size_t>(1, name.size() / 3);
    size_t steps = name.startsWith(mistyped) && mistyped.size() >= 3 ? 1 : distance(mistyped, name);
    if (steps <= allowed && steps < bestSteps) {
      best = name;
      bestSteps = steps;
    }
  }
  return best;
}

kj::String suggestion(kj::StringPtr mistyped, kj::ArrayPtr<const kj::StringPtr> known) {
  kj::StringPtr name = nearest(mistyped, known);
  return name.size() == 0 ? kj::String() : kj::str("; did you mean '", name, "'?");
}

}  // namespace orch
