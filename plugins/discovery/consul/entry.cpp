#include "entry.h"

#include <algorithm>

namespace orch::discovery::consul {

namespace {
constexpr uint64_t LEAST_SESSION_SECONDS = 10;
}  // namespace

Answer readEntries(const std::vector<orch::consul::KeyValue>& keys, const Place& place) {
  std::map<std::string, std::string> all;
  for (auto& kv : keys) all[kv.key] = kv.value;
  return answerOfKeys(all, place.nodes, place.details);
}

uint64_t sessionSeconds(uint64_t ttlMs) {
  return std::max(LEAST_SESSION_SECONDS, (ttlMs + 1999) / 2000);
}

}  // namespace orch::discovery::consul
