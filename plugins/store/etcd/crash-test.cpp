// Servers are killed, stopped and started again under the plugin.
#include <catch2/catch.hpp>

#include "lib/testing/crash-cases.h"
#include "test-store.h"

namespace orch::store::etcd {
namespace {

TEST_CASE("store.etcd: over crashes", "[store][etcd]") {
  for (auto& one : CRASH_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

}  // namespace
}  // namespace orch::store::etcd
