#include "orch/host-addresses.h"

#include <catch2/catch.hpp>

namespace orch {
namespace {

TEST_CASE("addresses: a node's has the port of nodes unless it names one", "[sdk]") {
  CHECK(withNodePort("10.0.0.1") == "10.0.0.1:2377");
  CHECK(withNodePort("10.0.0.1:99") == "10.0.0.1:99");
  CHECK(withNodePort("n1.example") == "n1.example:2377");
  CHECK(withNodePort("fd00::1") == "[fd00::1]:2377");
  CHECK(withNodePort("[fd00::1]") == "[fd00::1]:2377");
  CHECK(withNodePort("[fd00::1]:99") == "[fd00::1]:99");
}

}  // namespace
}  // namespace orch
