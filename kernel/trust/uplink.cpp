#include "kernel/trust/uplink.h"

#include <kj/debug.h>

#include "kernel/loop/turned-for.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::trust {

namespace {
constexpr kj::Duration ASK_EVERY = 1 * kj::SECONDS;
// A connection that is half open would stay so until TCP gives up, after a quarter of an hour.
constexpr kj::Duration ANSWER_LIMIT = 3 * kj::SECONDS;
constexpr uint64_t FIRST_PAUSE_MS = 50;
constexpr uint64_t LAST_PAUSE_MS = 1'000;
}  // namespace

Uplink::Uplink(Env& env, log::Logger& logger, rpc::Registry& registry,
               const std::vector<std::string>& managers, Connect connect)
    : env(env), logger(logger), registry(registry), managers(managers), connect(kj::mv(connect)) {}

Task<void> Uplink::run() {
  uint64_t pauseMs = FIRST_PAUSE_MS;
  bool complained = false;
  for (size_t next = 0;; ++next) {
    auto known = managers;
    known.insert(known.end(), suggested.begin(), suggested.end());
    auto address = kj::str(known[next % known.size()].c_str());
    auto began = env.timer().now();
    auto ended = co_await attempt(hold(kj::str(address)));
    bool held = env.timer().now() - began > 10 * kj::SECONDS;
    if (held) {
      pauseMs = FIRST_PAUSE_MS;
      complained = false;
    }
    if (!complained) {
      complained = true;
      log::LogFields fields;
      fields.emplace_back("manager", kj::mv(address));
      fields.emplace_back("reason",
                          tlsReason(ended.ok() ? "it closed the connection"_kj : ended.message()));
      logger.write(schema::LogLevel::WARN, "uplink.lost, trying until a manager answers", fields);
    }
    co_await env.timer().afterDelay((pauseMs / 2 + env.random() % pauseMs) * kj::MILLISECONDS);
    pauseMs = kj::min(pauseMs * 2, LAST_PAUSE_MS);
  }
}

Task<void> Uplink::hold(kj::String address) {
  auto stream = co_await connect(kj::str(address));
  PeerLink link(kj::mv(stream));
  auto gateway = link.bootstrap<schema::Gateway>();
  kj::Promise<capnp::Response<schema::Gateway::ServicesResults>> asked =
      gateway.servicesRequest().send();
  auto there = co_await env.timer().timeoutAfter(HANDSHAKE_LIMIT, kj::mv(asked));
  // Its plugins are still starting.
  if (there.getNames().size() == 0) fail(kj::str("it has nothing for this node yet"));
  KJ_DEFER(withdraw());
  for (auto name : there.getNames()) {
    auto request = gateway.serviceRequest();
    request.setName(name);
    registry.offer(name.cStr(), request.send().getCapability());
    offered.emplace_back(name.cStr());
  }
  log::LogFields fields;
  fields.emplace_back("manager", kj::str(address));
  logger.write(schema::LogLevel::INFO, "connected to a manager", fields);
  auto asking = keepAsking(gateway);
  co_await link.onDisconnect().exclusiveJoin(kj::mv(asking).promise());
}

Task<void> Uplink::keepAsking(schema::Gateway::Client gateway) {
  for (;;) {
    co_await env.timer().afterDelay(ASK_EVERY);
    auto silence = loop::turnedFor(env.timer(), ANSWER_LIMIT).then([]() {
      fail(kj::str("it has not answered for ", ANSWER_LIMIT / kj::SECONDS, " s"));
    });
    auto answered = gateway.versionRequest().send().ignoreResult();
    co_await answered.exclusiveJoin(kj::mv(silence));
  }
}

void Uplink::withdraw() {
  for (auto& name : offered) registry.withdraw(name);
  offered.clear();
}

}  // namespace orch::trust
