#include "member/renewer.h"

#include "orch/attempt.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

constexpr auto LONGEST_WAIT = 1 * kj::HOURS;  // clocks are set, and hosts sleep
constexpr auto SHORTEST_WAIT = 5 * kj::MINUTES;
constexpr auto FIRST_PAUSE = 5 * kj::SECONDS;
constexpr auto SIGN_LIMIT = 30 * kj::SECONDS;
constexpr uint64_t STEPS = 1 << 20;

}  // namespace

Renewer::Renewer(Env& env, Host& host, Sign sign)
    : env(env), host(host), sign(kj::mv(sign)), trust(host.service<schema::Trust>("trust")) {}

void Renewer::start() {
  running = run().promise().eagerlyEvaluate([this](kj::Exception&& exception) {
    host.log().error("trust.renewal-ended", {{"reason", plainText(exception)}});
  });
}

Task<void> Renewer::run() {
  auto pause = FIRST_PAUSE;
  for (;;) {
    auto notAfterNs = co_await untilDue();
    auto renewed = co_await attempt(renew());
    if (renewed.ok()) {
      pause = FIRST_PAUSE;
      complaint = kj::String();
      // A clock that is far ahead would have it renewed again at once.
      co_await env.timer().afterDelay(SHORTEST_WAIT);
      continue;
    }
    if (env.nowNs() < notAfterNs) {
      complain("trust.renewal-failed", kj::str(renewed.message()));
    } else {
      complain("trust.certificate-expired",
               kj::str("no manager talks to this node any more; 'orch leave', then 'orch join' "
                       "with a token of 'orch join-token worker' on a manager"));
    }
    // Between one and two pauses, so that nodes that failed together do not try together.
    co_await env.timer().afterDelay(pause + env.random() % STEPS * pause / STEPS);
    pause = kj::min(pause * 2, LONGEST_WAIT);
  }
}

// Until when the certificate is valid.
Task<int64_t> Renewer::untilDue() {
  auto chance = static_cast<double>(env.random() % STEPS) / STEPS;
  for (;;) {
    auto asked = co_await trust.stateRequest().send();
    auto state = asked.getState();
    auto dueNs = orch::trust::renewalNs(state.getNotBeforeNs(), state.getNotAfterNs(), chance);
    auto nowNs = env.nowNs();
    if (nowNs >= dueNs) co_return state.getNotAfterNs();
    co_await env.timer().afterDelay(kj::min(LONGEST_WAIT, (dueNs - nowNs) * kj::NANOSECONDS));
  }
}

Task<void> Renewer::renew() {
  auto asked = co_await trust.requestRequest().send();
  auto signing = env.timer().timeoutAfter(SIGN_LIMIT, sign(kj::str(asked.getRequest())));
  auto certificate = co_await signing;
  auto request = trust.renewRequest();
  request.setCertificate(certificate);
  co_await request.send().ignoreResult();
  host.log().info("this node's certificate has been renewed");
}

void Renewer::complain(kj::StringPtr id, kj::String reason) {
  if (reason == complaint) return;
  host.log().warn(id, {{"reason", reason}, {"retry", "until it works"}});
  complaint = kj::mv(reason);
}

}  // namespace orch::control::manager
