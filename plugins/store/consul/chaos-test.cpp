// Servers die, stop and come back under two nodes that write.
#include <catch2/catch.hpp>

#include "lib/testing/chaos-cases.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: while servers die, stop and come back, no commit is lost or done twice",
          "[store][consul]") {
  losesNothingInChaos<Backend>(160, 16);
}

}  // namespace
}  // namespace orch::store::consul
