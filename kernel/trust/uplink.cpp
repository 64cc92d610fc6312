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
constexpr kj::Duration LASTING = 10 * kj::SECONDS;  // of a connection that is worth a new complaint
}  // namespace

Uplink::Uplink(Env& env, log::Logger& logger, rpc::Registry& registry,
               const std::vector<std::string>& managers, ManagerSearch::Connect connect)
    : env(env), logger(logger), registry(registry), search(env, managers, kj::mv(connect)) {}

Task<void> Uplink::run() {
  uint64_t pauseMs = FIRST_PAUSE_MS;
  for (bool complained = false;;) {
    auto ended = co_await attempt(hold());
    if (!from.empty() && env.timer().now() - since > LASTING) {
      pauseMs = FIRST_PAUSE_MS;
      complained = false;
    }
    if (!complained) {
      complained = true;
      log::LogFields fields;
      fields.emplace_back("manager", kj::str((from.empty() ? search.begunWith() : from).c_str()));
      fields.emplace_back("reason",
                          tlsReason(ended.ok() ? "it closed the connection"_kj : ended.message()));
      logger.write(schema::LogLevel::WARN, "uplink.lost, trying until a manager answers", fields);
    }
    co_await env.timer().afterDelay((pauseMs / 2 + env.random() % pauseMs) * kj::MILLISECONDS);
    pauseMs = kj::min(pauseMs * 2, LAST_PAUSE_MS);
  }
}

Task<void> Uplink::hold() {
  from.clear();
  auto manager = co_await search.find();
  from = manager.address;
  since = env.timer().now();
  KJ_DEFER(withdraw());
  for (auto name : manager.services.getNames()) {
    auto request = manager.gateway.serviceRequest();
    request.setName(name);
    registry.offer(name.cStr(), request.send().getCapability());
    offered.emplace_back(name.cStr());
  }
  log::LogFields fields;
  fields.emplace_back("manager", kj::str(from.c_str()));
  logger.write(schema::LogLevel::INFO, "connected to a manager", fields);
  auto asking = keepAsking(manager.gateway);
  co_await manager.link->onDisconnect().exclusiveJoin(kj::mv(asking).promise());
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
