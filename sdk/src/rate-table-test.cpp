#include "orch/rate-table.h"

#include <catch2/catch.hpp>

namespace orch {
namespace {

TEST_CASE("rate table: each client has its own rate, and a full bucket is forgotten", "[sdk]") {
  RateTable rate(1, 2);
  CHECK(rate.allow("a", 0));
  CHECK(rate.allow("a", 0));
  CHECK(!rate.allow("a", 0));
  CHECK(rate.allow("b", 0));
  CHECK(!rate.allow("a", 999));
  CHECK(rate.allow("a", 1999));
  CHECK(rate.allow("a", 2999));
  CHECK(!rate.allow("a", 2999));
  for (int i = 0; i < 20'000; ++i) rate.allow("c" + std::to_string(i), 3000);
  CHECK(rate.size() == RateTable::MAX_CLIENTS);
  CHECK(!rate.allow("new", 3000));
  CHECK(rate.allow("new", 100'000));
  CHECK(rate.size() == 1);
}

}  // namespace
}  // namespace orch
