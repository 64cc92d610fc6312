// What a row of checks makes of a task's health.
#include "health-state.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <string>

namespace orch::control::agent {
namespace {

using schema::Health;

struct Check {
  capnp::MallocMessageBuilder message;
  schema::HealthCheck::Builder it = message.initRoot<schema::HealthCheck>();
  Check(std::initializer_list<const char*> test, uint64_t intervalMs = 0, uint32_t retries = 0,
        uint64_t startPeriodMs = 0, uint64_t startIntervalMs = 0) {
    auto words = it.initTest(test.size());
    for (uint32_t i = 0; i < words.size(); ++i) words.set(i, test.begin()[i]);
    it.setIntervalMs(intervalMs);
    it.setRetries(retries);
    it.setStartPeriodMs(startPeriodMs);
    it.setStartIntervalMs(startIntervalMs);
  }
};

std::string settled(const Check& spec, const Check& image) {
  capnp::MallocMessageBuilder message;
  auto to = message.initRoot<schema::HealthCheck>();
  settleHealthCheck(spec.it.asReader(), image.it.asReader(), to);
  auto words = to.asReader().getTest();
  if (words.size() == 0) return "none";
  return kj::str(words[1], " ", to.getIntervalMs(), " ", to.getTimeoutMs(), " ", to.getRetries(),
                 " ", to.getStartPeriodMs(), " ", to.getStartIntervalMs())
      .cStr();
}

// `.` and `x`, one second apart, first after a second: a check that succeeds or fails. What the
// health is after each: (s)tarting, (h)ealthy, (u)nhealthy.
std::string healths(const Check& check, const std::string& checks,
                    Health health = Health::STARTING) {
  HealthState state(check.it.asReader(), health);
  std::string seen;
  uint64_t atMs = 0;
  for (char one : checks) {
    atMs += 1000;
    auto before = state.health();
    auto change = one == '.' ? state.passed() : state.failed(atMs);
    CHECK((change != HealthState::Change::NONE) == (before != state.health()));
    seen += state.health() == Health::STARTING  ? 's'
            : state.health() == Health::HEALTHY ? 'h'
                                                : 'u';
  }
  return seen;
}

}  // namespace

TEST_CASE("health: of each setting the spec's counts, then the image's, then docker's default",
          "[agent]") {
  Check none({});
  Check image({"CMD", "of-image"}, 10'000, 5, 60'000, 1'000);
  CHECK(settled(none, none) == "none");
  CHECK(settled(none, image) == "of-image 10000 30000 5 60000 1000");
  CHECK(settled(Check({}, 1'000, 1), image) == "of-image 1000 30000 1 60000 1000");
  CHECK(settled(Check({"CMD", "own"}), image) == "own 10000 30000 5 60000 1000");
  CHECK(settled(Check({"CMD", "own"}), none) == "own 30000 30000 3 0 5000");
  CHECK(settled(Check({"NONE"}), image) == "none");
  CHECK(settled(none, Check({"NONE"})) == "none");
  CHECK(settled(Check({}, 1'000), none) == "none");
}

TEST_CASE("health: a success makes healthy, so many failures in a row unhealthy", "[agent]") {
  Check check({"CMD", "x"}, 1'000, 3);
  CHECK(healths(check, "...") == "hhh");
  CHECK(healths(check, "xxx") == "ssu");
  CHECK(healths(check, "xx.xx.xxx") == "sshhhhhhu");
  CHECK(healths(check, "xx.", Health::HEALTHY) == "hhh");
  CHECK(healths(check, "xxx", Health::HEALTHY) == "hhu");
  CHECK(healths(Check({"CMD", "x"}, 1'000, 1), "x") == "u");
}

TEST_CASE("health: in the start period failures do not count before the first success", "[agent]") {
  Check check({"CMD", "x"}, 1'000, 2, 4'500);
  CHECK(healths(check, "xxxx.") == "ssssh");
  CHECK(healths(check, "xxxxxx") == "sssssu");
  CHECK(healths(check, "x.xx") == "shhu");
}

TEST_CASE("health: in the start period it is looked at more often, before the first success",
          "[agent]") {
  Check check({"CMD", "x"}, 30'000, 3, 10'000, 2'000);
  HealthState state(check.it.asReader(), Health::STARTING);
  CHECK(state.pauseMs(0) == 2'000);
  CHECK(state.pauseMs(9'999) == 2'000);
  CHECK(state.pauseMs(10'000) == 30'000);
  state.failed(2'000);
  CHECK(state.pauseMs(2'000) == 2'000);
  state.passed();
  CHECK(state.pauseMs(4'000) == 30'000);
  HealthState without(Check({"CMD", "x"}, 30'000, 3, 0, 2'000).it.asReader(), Health::STARTING);
  CHECK(without.pauseMs(0) == 30'000);
}

}  // namespace orch::control::agent
