#include "reference.h"

#include <algorithm>

#include "orch/suggest.h"

namespace orch::image::oci {

namespace {

std::string withoutTag(const std::string& name) {
  auto slash = name.rfind('/');
  auto end = name.find_first_of(":@", slash == std::string::npos ? 0 : slash);
  return name.substr(0, end);
}

}  // namespace

std::vector<std::string> similarNames(const std::string& wanted,
                                      const std::vector<std::string>& names) {
  constexpr size_t MAX_SHOWN = 3;
  constexpr size_t MAX_COMPARED = 10'000;  // of names, so that a typo costs milliseconds
  std::vector<std::pair<size_t, std::string>> ranked;
  std::string base = withoutTag(wanted);
  for (auto& name : names) {
    if (ranked.size() >= MAX_COMPARED) break;
    size_t far = stepsBetween(wanted.c_str(), name.c_str());
    bool sameName = withoutTag(name) == base;
    size_t baseFar = stepsBetween(base.c_str(), withoutTag(name).c_str());
    if (sameName || far <= 2 || baseFar <= std::max<size_t>(1, base.size() / 4)) {
      ranked.emplace_back(sameName ? 0 : std::min(far, baseFar), name);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> best;
  for (size_t i = 0; i < ranked.size() && i < MAX_SHOWN; ++i) best.push_back(ranked[i].second);
  return best;
}

}  // namespace orch::image::oci
