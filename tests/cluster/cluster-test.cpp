// A simulated cluster, its rules, and what its work costs.
#include <catch2/catch.hpp>

#include <algorithm>

#include "simulation.h"

namespace orch {
namespace {

using testing::Bug;
using testing::Plan;
using testing::Step;

Step step(uint32_t atMs, Step::Kind kind, const char* host, uint32_t amount = 0) {
  Step made;
  made.atMs = atMs;
  made.kind = kind;
  made.host = host;
  made.amount = amount;
  return made;
}

TEST_CASE("cluster: a service survives the loss of a host", "[simulation]") {
  Plan plan;
  plan.seed = testing::testSeed();
  plan.hosts = 4;
  plan.steps = {step(0, Step::Kind::CREATE, "web", 6), step(4000, Step::Kind::POWER_OFF, "n3"),
                step(12000, Step::Kind::POWER_ON, "n3"), step(15000, Step::Kind::SCALE, "web", 9)};
  auto outcome = testing::simulate(plan, Bug::NONE);
  INFO(outcome.log);
  CHECK(outcome.violation == "");
}

TEST_CASE("cluster: in an hour of small faults nobody is taken for down, and no task is restarted",
          "[simulation]") {
  constexpr uint32_t HOUR_MS = 3'600'000;
  auto outcome = testing::simulate(testing::drawMildPlan(testing::testSeed(), HOUR_MS), Bug::NONE);
  INFO(outcome.log.substr(outcome.log.size() - std::min<size_t>(outcome.log.size(), 4000)));
  CHECK(outcome.violation == "");
  CHECK(outcome.virtualMs > HOUR_MS);
  CHECK(outcome.starts == 6);
}

TEST_CASE("cluster: the same seed gives the same log to the byte", "[simulation]") {
  for (uint64_t seed : {3, 4, 5}) {
    auto plan = testing::drawPlan(seed);
    auto one = testing::simulate(plan, Bug::NONE), two = testing::simulate(plan, Bug::NONE);
    CHECK(one.log.size() > 1000);
    CHECK(one.log == two.log);
    CHECK(one.bytes == two.bytes);
    auto other = testing::simulate(testing::drawPlan(seed + 100), Bug::NONE);
    CHECK_FALSE(one.log == other.log);
  }
}

}  // namespace
}  // namespace orch
