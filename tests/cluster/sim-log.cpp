#include "sim-log.h"

#include <algorithm>
#include <cstdio>

namespace orch::testing {

void SimLog::add(kj::StringPtr host, kj::StringPtr what) {
  char time[32];
  int64_t us = (timer.now() - kj::origin<kj::TimePoint>()) / kj::MICROSECONDS;
  snprintf(time, sizeof(time), "%4ld.%06ld ", static_cast<long>(us / 1'000'000),
           static_cast<long>(us % 1'000'000));
  std::string line = what.cStr();
  std::replace(line.begin(), line.end(), '\n', ' ');
  all.append(time).append(host.cStr()).append(" ").append(line).append("\n");
}

std::string SimLog::tail(size_t lines) const {
  size_t begin = all.size();
  for (size_t i = 0; i <= lines && begin != 0; ++i) {
    auto before = all.rfind('\n', begin - 1);
    if (before == std::string::npos) return all;
    begin = before;
  }
  return all.substr(begin == 0 ? 0 : begin + 1);
}

}  // namespace orch::testing
