// The promises of the kind, kept by the plugin's own file against a real consul.
#include "lib/testing/conformance.h"

#include <catch2/catch.hpp>

#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: keeps the promises of a store", "[store][consul]") {
  checkConformance<Backend>(testing::Isolation::KERNEL, 0);
}

TEST_CASE("store.consul: keeps them in a process of its own with 8 changes per batch",
          "[store][consul]") {
  checkConformance<Backend>(testing::Isolation::PROCESS, 8);
}

}  // namespace
}  // namespace orch::store::consul
