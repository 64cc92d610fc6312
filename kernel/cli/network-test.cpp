#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: the pools of a cluster's networks are given when it is made", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"init", "--default-addr-pool", "10.1.0.0/16", "--default-addr-pool",
                         "10.3.0.0/16", "--default-addr-pool-mask-length", "26"});
  CHECK(ran.status == 0);
  CHECK(server.lastPools == "10.1.0.0/16 10.3.0.0/16 / 26");
  CHECK(server.run({"init"}).status == 0);
  CHECK(server.lastPools == " / 0");
  server.lastPools = "";
  for (auto length : {"0", "7", "30", "300", "x", ""}) {
    auto refused = server.run({"init", "--default-addr-pool-mask-length", length});
    CHECK(refused.status == 2);
    CHECK(refused.errors ==
          std::string("orch: invalid value '") + length +
              "' for --default-addr-pool-mask-length: expected a whole number from 8 to 29\n");
  }
  CHECK(server.lastPools == "");
}

}  // namespace
}  // namespace orch::cli
