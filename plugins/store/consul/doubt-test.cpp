// Answers are lost, late, or do not come: what was done is found out.
#include <catch2/catch.hpp>

#include "lib/testing/crash-cases.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: in doubt", "[store][consul]") {
  for (auto& one : DOUBT_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

}  // namespace
}  // namespace orch::store::consul
