// A state that is not the one that the node knows is refused by name.
#include <catch2/catch.hpp>

#include "lib/testing/identity-cases.h"
#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: a state is known again", "[store][zookeeper]") {
  for (auto& one : IDENTITY_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

}  // namespace
}  // namespace orch::store::zookeeper
