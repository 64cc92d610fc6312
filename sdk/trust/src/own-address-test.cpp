#include "orch/trust/own-address.h"

#include <catch2/catch.hpp>

#include "orch/host-addresses.h"

namespace orch::trust {
namespace {

TEST_CASE("own address: what packets to another one leave with", "[trust]") {
  CHECK(sourceTowards("127.0.0.1:2377") == "127.0.0.1");
  CHECK(sourceTowards("manager.example:2377") == std::nullopt);
}

TEST_CASE("own address: whether it is of this host", "[trust]") {
  CHECK(isOfThisHost("127.0.0.1:2377"));
  CHECK_FALSE(isOfThisHost("192.0.2.1:2377"));  // RFC 5737: nobody's
  CHECK_FALSE(isOfThisHost("[2001:db8::1]:2377"));
  CHECK(isOfThisHost("manager.example:2377"));
  for (auto& address : hostAddresses()) CHECK(isOfThisHost(address + ":2377"));
}

TEST_CASE("own address: what takes its place has its port", "[trust]") {
  auto all = hostAddresses();
  auto instead = addressInstead("192.0.2.1:7777", {"192.0.2.1:7777", "127.0.0.1:2377"});
  if (all.size() == 1) CHECK(instead == all[0] + ":7777");
  if (all.size() != 1) CHECK(instead == std::nullopt);
}

}  // namespace
}  // namespace orch::trust
