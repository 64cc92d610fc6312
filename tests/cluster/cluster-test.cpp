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

// What the manager has to move from it waits for what it has asked to end there, and hears nothing.
TEST_CASE("cluster: what a node restarted while it was cut off is taken in, though it is drained",
          "[simulation]") {
  Plan plan;
  plan.seed = testing::testSeed();
  plan.hosts = 3;
  plan.steps = {step(0, Step::Kind::CREATE, "web", 9),   step(40'000, Step::Kind::CRASH, "n1"),
                step(52'000, Step::Kind::CUT, "n2"),     step(53'000, Step::Kind::START, "n1"),
                step(54'000, Step::Kind::DRAIN, "n2"),   step(58'000, Step::Kind::MEND, "n2"),
                step(65'000, Step::Kind::ACTIVATE, "n2")};
  plan.steps[0].script = Step::Script::ENDS;  // each runs for 45 s
  auto outcome = testing::simulate(plan, Bug::NONE);
  INFO(outcome.log);
  CHECK(outcome.violation == "");
  CHECK(outcome.takenIn > 0);
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

// Nobody has trouble, so that all nodes are ready: the oracle looks at each placement.
TEST_CASE("cluster: tasks are on the nodes where the oracle would have them", "[simulation]") {
  constexpr uint32_t WHEN_READY_MS = 45'000;
  uint64_t judged = 0;
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    CAPTURE(seed);
    auto plan = testing::drawPlan(seed);
    std::erase_if(plan.steps, [](auto& step) { return !step.isRequest(); });
    for (auto& step : plan.steps) step.atMs += WHEN_READY_MS;
    plan.lengthMs += WHEN_READY_MS;
    auto outcome = testing::simulate(plan, Bug::NONE);
    INFO(outcome.log.substr(outcome.log.size() - std::min<size_t>(outcome.log.size(), 4000)));
    REQUIRE(outcome.violation == "");
    judged += outcome.judged;
  }
  CHECK(judged > 100);
}

}  // namespace
}  // namespace orch
