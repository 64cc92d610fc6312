// Servers die, stop and come back under two nodes that write.
#include <catch2/catch.hpp>

#include "lib/testing/chaos-cases.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: while servers die, stop and come back, no commit is lost or done twice",
          "[store][zookeeper]") {
  losesNothingInChaos<Backend>(120, 20);
}

}  // namespace
}  // namespace orch::store::zookeeper
