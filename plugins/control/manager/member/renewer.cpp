#include "member/renewer.h"

#include "orch/attempt.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

constexpr auto LONGEST_WAIT = 1 * kj::HOURS;  // clocks are set, and hosts sleep
constexpr auto SHORTEST_WAIT = 5 * kj::MINUTES;
constexpr auto FIRST_PAUSE = 5 * kj::SECONDS;
constexpr auto FIRST_LOOK = 250 * kj::MILLISECONDS;  // at what it is to be
constexpr auto LAST_LOOK = 5 * kj::SECONDS;
constexpr auto SIGN_LIMIT = 30 * kj::SECONDS;
constexpr uint64_t STEPS = 1 << 20;

}  // namespace

Renewer::Renewer(Env& env, Host& host, kj::Function<void(std::string)> renewed)
    : env(env), host(host), trust(host.service<schema::Trust>("trust")), renewed(kj::mv(renewed)) {}

void Renewer::start() {
  auto ended = [this](kj::Exception&& exception) {
    host.log().error("trust.renewal-ended", {{"reason", plainText(exception)}});
  };
  running = run().promise().eagerlyEvaluate(ended);
  watching = watchRole().promise().eagerlyEvaluate(ended);
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

// Whoever leads is asked all the time; it may be away, or another one soon.
Task<void> Renewer::watchRole() {
  for (auto pause = FIRST_LOOK;;) {
    auto asked = env.timer().now();
    auto taken = co_await attempt(takeNewRole());
    bool lasted = env.timer().now() - asked > LAST_LOOK;
    pause = taken.ok() || lasted ? FIRST_LOOK : kj::min(pause * 2, LAST_LOOK);
    co_await env.timer().afterDelay(pause + env.random() % STEPS * pause / STEPS);
  }
}

Task<void> Renewer::takeNewRole() {
  auto state = co_await trust.stateRequest().send();
  auto request = host.service<schema::Renewal>("renewal").awaitRoleRequest();
  auto held = state.getState();
  request.setCurrent(held.getRole());
  request.setAuthority(held.getCluster());
  request.setTrusted(held.getTrusted());
  auto answer = co_await request.send();
  bool manages = answer.getRole() == schema::Role::MANAGER;
  if (answer.getRole() != held.getRole()) {
    host.log().info("this node is to be a manager or a worker from now on",
                    {{"role", manages ? "manager" : "worker"}});
  }
  co_await renew();
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
  auto asking = host.service<schema::Renewal>("renewal").renewRequest();
  asking.setRequest(asked.getRequest());
  auto signing = env.timer().timeoutAfter(SIGN_LIMIT, asking.send());
  auto answer = co_await signing;
  auto request = trust.renewRequest();
  request.setCertificate(answer.getCertificate());
  request.setTrusted(answer.getTrusted());
  co_await request.send().ignoreResult();
  host.log().info("this node's certificate has been renewed");
  auto state = co_await trust.stateRequest().send();
  renewed(state.getState().getCluster().cStr());
}

void Renewer::complain(kj::StringPtr id, kj::String reason) {
  if (reason == complaint) return;
  host.log().warn(id, {{"reason", reason}, {"retry", "until it works"}});
  complaint = kj::mv(reason);
}

}  // namespace orch::control::manager
