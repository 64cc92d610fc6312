#include "reference.h"

#include <algorithm>

namespace orch::image::oci {

namespace {

size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

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
    size_t far = distance(wanted, name);
    bool sameName = withoutTag(name) == base;
    size_t baseFar = distance(base, withoutTag(name));
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
