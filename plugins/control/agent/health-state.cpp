#include "health-state.h"

namespace orch::control::agent {

using schema::Health;

namespace {

// docker's.
constexpr uint64_t INTERVAL_MS = 30'000;
constexpr uint64_t TIMEOUT_MS = 30'000;
constexpr uint64_t START_INTERVAL_MS = 5'000;
constexpr uint32_t RETRIES = 3;

template <typename Number>
Number firstOf(Number spec, Number image, Number standard) {
  return spec != 0 ? spec : image != 0 ? image : standard;
}

}  // namespace

void settleHealthCheck(schema::HealthCheck::Reader spec, schema::HealthCheck::Reader image,
                       schema::HealthCheck::Builder to) {
  auto test = spec.getTest().size() > 0 ? spec.getTest() : image.getTest();
  bool known = test.size() > 1 && (test[0] == "CMD" || test[0] == "CMD-SHELL");
  if (!known) return;  // none, or `NONE`
  to.setTest(test);
  to.setIntervalMs(firstOf(spec.getIntervalMs(), image.getIntervalMs(), INTERVAL_MS));
  to.setTimeoutMs(firstOf(spec.getTimeoutMs(), image.getTimeoutMs(), TIMEOUT_MS));
  to.setRetries(firstOf(spec.getRetries(), image.getRetries(), RETRIES));
  to.setStartPeriodMs(firstOf<uint64_t>(spec.getStartPeriodMs(), image.getStartPeriodMs(), 0));
  to.setStartIntervalMs(
      firstOf(spec.getStartIntervalMs(), image.getStartIntervalMs(), START_INTERVAL_MS));
}

HealthState::HealthState(schema::HealthCheck::Reader check, Health health)
    : intervalMs(check.getIntervalMs()),
      startPeriodMs(check.getStartPeriodMs()),
      startIntervalMs(check.getStartIntervalMs()),
      retries(check.getRetries()),
      now(health) {}

HealthState::Change HealthState::passed() {
  failedInARow = 0;
  if (now == Health::HEALTHY) return Change::NONE;
  now = Health::HEALTHY;
  return Change::HEALTHY;
}

HealthState::Change HealthState::failed(uint64_t sinceStartMs) {
  if (now == Health::STARTING && sinceStartMs < startPeriodMs) return Change::NONE;
  if (++failedInARow < retries) return Change::NONE;
  now = Health::UNHEALTHY;
  return Change::UNHEALTHY;
}

uint64_t HealthState::pauseMs(uint64_t sinceStartMs) const {
  bool starts = now == Health::STARTING && sinceStartMs < startPeriodMs;
  return starts ? startIntervalMs : intervalMs;
}

}  // namespace orch::control::agent
