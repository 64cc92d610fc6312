// How often each client may do something. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace orch {

// A bucket per client that fills with time; a full one is forgotten.
class RateTable final {
 public:
  static constexpr size_t MAX_CLIENTS =
      10'000;  // past it, new ones are refused until a bucket is full

  RateTable(double perSecond, double burst) : perMs(perSecond / 1000), burst(burst) {}
  bool allow(const std::string& client, int64_t nowMs);
  size_t size() const { return buckets.size(); }

 private:
  struct Bucket {
    double level;
    int64_t atMs;
  };
  double levelOf(const Bucket& bucket, int64_t nowMs) const;

  double perMs;
  double burst;
  std::map<std::string, Bucket> buckets;
};

}  // namespace orch
