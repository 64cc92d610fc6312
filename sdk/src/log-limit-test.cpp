#include "orch/log-limit.h"

#include <catch2/catch.hpp>

namespace orch {
namespace {

kj::TimePoint at(int64_t ms) { return kj::origin<kj::TimePoint>() + ms * kj::MILLISECONDS; }

TEST_CASE("log limit: a few lines at once, then one per period, which counts what was left out",
          "[log]") {
  LogLimit limit;
  for (uint32_t i = 0; i < LogLimit::AT_ONCE; ++i) CHECK(limit.admit("a", at(1'000)) == 0);
  for (int i = 0; i < 7; ++i) CHECK_FALSE(limit.admit("a", at(1'000)).has_value());
  CHECK(limit.admit("b", at(1'000)) == 0);
  CHECK_FALSE(limit.admit("a", at(1'000 + LogLimit::PERIOD_MS - 1)).has_value());
  CHECK(limit.admit("a", at(1'000 + LogLimit::PERIOD_MS)) == 8);
  CHECK_FALSE(limit.admit("a", at(1'000 + LogLimit::PERIOD_MS)).has_value());
  for (uint32_t i = 0; i < LogLimit::AT_ONCE; ++i) {
    CHECK(limit.admit("a", at(1'000'000)).has_value());
  }
  CHECK_FALSE(limit.admit("a", at(1'000'000)).has_value());
}

TEST_CASE("log limit: how many at once is the owner's to say", "[log]") {
  LogLimit limit(100);
  uint64_t lines = 0;
  for (int i = 0; i < 1'000; ++i) {
    if (limit.admit("a", at(0)).has_value()) ++lines;
  }
  CHECK(lines == 100);
  CHECK(limit.admit("a", at(LogLimit::PERIOD_MS)) == 900);
}

TEST_CASE("log limit: kinds without end are one kind", "[log]") {
  LogLimit limit;
  uint64_t lines = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (limit.admit(std::to_string(i), at(0)).has_value()) ++lines;
  }
  CHECK(lines == LogLimit::MAX_KINDS + LogLimit::AT_ONCE);
}

}  // namespace
}  // namespace orch
