// The promises of the kind, kept by the plugin's own file against a real ZooKeeper.
#include "lib/testing/conformance.h"

#include <catch2/catch.hpp>

#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: keeps the promises of a store", "[store][zookeeper]") {
  checkConformance<Backend>(testing::Isolation::KERNEL, 0);
}

TEST_CASE("store.zookeeper: keeps them in a process of its own with 8 changes per batch",
          "[store][zookeeper]") {
  checkConformance<Backend>(testing::Isolation::PROCESS, 8);
}

}  // namespace
}  // namespace orch::store::zookeeper
