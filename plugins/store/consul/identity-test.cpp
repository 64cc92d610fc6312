// A state that is not the one that the node knows is refused by name.
#include <catch2/catch.hpp>

#include "lib/testing/identity-cases.h"
#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: a state is known again", "[store][consul]") {
  for (auto& one : IDENTITY_CASES<Backend>) {
    DYNAMIC_SECTION(one.name) { one.run(); }
  }
}

}  // namespace
}  // namespace orch::store::consul
