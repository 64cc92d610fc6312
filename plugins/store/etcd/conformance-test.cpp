// The promises of the kind, kept by the plugin's own file against a real etcd.
#include "lib/testing/conformance.h"

#include <catch2/catch.hpp>

#include "test-store.h"

namespace orch::store::etcd {
namespace {

TEST_CASE("store.etcd: keeps the promises of a store", "[store][etcd]") {
  checkConformance<Backend>(testing::Isolation::KERNEL, 0);
}

TEST_CASE("store.etcd: keeps them in a process of its own with 8 changes per batch",
          "[store][etcd]") {
  checkConformance<Backend>(testing::Isolation::PROCESS, 8);
}

}  // namespace
}  // namespace orch::store::etcd
