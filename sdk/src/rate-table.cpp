#include "orch/rate-table.h"

#include <algorithm>

namespace orch {

double RateTable::levelOf(const Bucket& bucket, int64_t nowMs) const {
  return std::min(burst, bucket.level + static_cast<double>(nowMs - bucket.atMs) * perMs);
}

bool RateTable::allow(const std::string& client, int64_t nowMs) {
  auto found = buckets.find(client);
  if (found == buckets.end()) {
    if (buckets.size() >= MAX_CLIENTS) {
      std::erase_if(buckets, [&](auto& one) { return levelOf(one.second, nowMs) >= burst; });
    }
    if (buckets.size() >= MAX_CLIENTS) return false;
    found = buckets.emplace(client, Bucket{burst, nowMs}).first;
  }
  auto& bucket = found->second;
  bucket.level = levelOf(bucket, nowMs);
  bucket.atMs = nowMs;
  if (bucket.level < 1) return false;
  bucket.level -= 1;
  return true;
}

}  // namespace orch
