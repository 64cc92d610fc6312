// Servers are killed, stopped and started again under the plugin.
#include <catch2/catch.hpp>

#include "lib/testing/crash-cases.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: over crashes", "[store][zookeeper]") {
  for (auto& one : CRASH_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

}  // namespace
}  // namespace orch::store::zookeeper
