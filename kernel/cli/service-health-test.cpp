// The built program against a recording server: what its flags make of a health check.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: a health check is given, changed and switched off", "[cli]") {
  RecordingServer server;
  auto health = [&] {
    auto check = server.lastSpec().getTask().getContainer().getHealth();
    return std::string(kj::str(kj::strArray(check.getTest(), "|"), " ", check.getIntervalMs(), " ",
                               check.getTimeoutMs(), " ", check.getRetries(), " ",
                               check.getStartPeriodMs(), " ", check.getStartIntervalMs())
                           .cStr());
  };
  REQUIRE(server
              .run(create({"-d", "--health-cmd", "curl -f localhost || exit 1", "--health-interval",
                           "10s", "--health-timeout", "1500ms", "--health-retries", "5",
                           "--health-start-period", "1m", "--health-start-interval", "2s"}))
              .status == 0);
  CHECK(health() == "CMD-SHELL|curl -f localhost || exit 1 10000 1500 5 60000 2000");
  auto update = [&](Words words) {
    words.insert(words.begin(), {"service", "update", "-d"});
    words.push_back("web");
    auto ran = server.run(words);
    INFO(ran.errors);
    REQUIRE(ran.status == 0);
    return health();
  };
  CHECK(update({"--health-retries", "2"}) ==
        "CMD-SHELL|curl -f localhost || exit 1 10000 1500 2 60000 2000");
  CHECK(update({"--health-cmd", ""}) == " 10000 1500 2 60000 2000");
  CHECK(update({"--no-healthcheck"}) == "NONE 0 0 0 0 0");
  CHECK(update({"--health-interval", "3s"}) == " 3000 0 0 0 0");
  auto ran = server.run(create({"-d", "--no-healthcheck", "--health-timeout", "1s"}));
  CHECK(ran.status == 2);
  CHECK(has(ran.errors, "orch: --no-healthcheck cannot be combined with --health-timeout"));
}

TEST_CASE("cli: without a flag of its own a service leaves its image's health check", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  CHECK_FALSE(server.lastSpec().getTask().getContainer().hasHealth());
}

}  // namespace
}  // namespace orch::cli
