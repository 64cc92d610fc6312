#include "session/beat-watch.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration TOLERATED_LAG = 200 * kj::MILLISECONDS;
// Of one that is gone, whether its beats come again.
constexpr kj::Duration LOOK_AGAIN = 1 * kj::SECONDS;
}  // namespace

void BeatWatch::set(Expectation& node, kj::TimePoint since, kj::Duration within) {
  node.since = since;
  node.due = since + within;
  if (within > 0 * kj::SECONDS) node.due = kj::max(node.due, lenientUntil);
  node.look = since + within * 3 / 5;
  node.suspected = false;
  node.gone = false;
}

void BeatWatch::lookAtOneself(kj::TimePoint now) {
  KJ_IF_MAYBE (planned, watched) {
    auto late = now - *planned;
    if (late <= TOLERATED_LAG) return;
    watched = now;
    // It is not the agents' fault that their beats were not read.
    if (late > limit) lenientUntil = now + grace;
    for (auto& entry : expected) {
      auto& node = entry.second;
      node.look += late;
      node.due = kj::max(node.due + late, lenientUntil);
    }
  }
}

void BeatWatch::expect(const std::string& nodeId, kj::Duration within, const std::string& reason) {
  lookAtOneself(env.timer().now());
  auto inserted = expected.try_emplace(nodeId);
  auto& node = inserted.first->second;
  auto before = node.look;
  set(node, env.timer().now(), within);
  node.reason = reason;
  // One that is to be looked at earlier than before gets a second entry; the older one is skipped.
  if (inserted.second || node.look < before) order.emplace(node.look, nodeId);
  watchUntil(order.top().first);
}

void BeatWatch::expectAll(kj::Duration within) {
  for (auto& entry : expected) set(entry.second, env.timer().now(), within);
}

void BeatWatch::stop() {
  expected.clear();
  order = {};
  watched = nullptr;
  watcher = kj::READY_NOW;
}

void BeatWatch::watchUntil(kj::TimePoint time) {
  KJ_IF_MAYBE (until, watched) {
    if (*until <= time) return;
  }
  watched = time;
  watcher = watch().promise().eagerlyEvaluate(nullptr);
}

std::string BeatWatch::silence() const {
  auto seconds = static_cast<double>(limit / kj::MILLISECONDS) / 1000;
  return kj::str("no heartbeat for ", seconds, "s").cStr();
}

bool BeatWatch::look(const std::string& nodeId, Expectation& node, kj::TimePoint now) {
  bool beats = false;
  KJ_IF_MAYBE (newest, observer.newestBeat(nodeId)) {
    beats = true;
    if (*newest > node.since) {
      set(node, *newest, limit);
      node.reason.clear();
      observer.beaten(nodeId);
      // Of a beat that is old already it was only heard late.
      node.look = kj::max(node.look, now + limit / 10);
      return true;
    }
  }
  if (node.gone && !beats) return false;
  if (node.gone) {
    node.look = now + LOOK_AGAIN;
    return true;
  }
  if (now >= node.due) {
    node.gone = true;
    node.look = now + LOOK_AGAIN;
    return observer.missed(nodeId, node.reason.empty() ? silence() : node.reason);
  }
  if (!node.suspected) {
    node.suspected = true;
    observer.suspected(nodeId);
  }
  node.look = node.due;
  return true;
}

Task<void> BeatWatch::watch() {
  while (!order.empty()) {
    auto next = order.top().first;
    watched = kj::max(next, env.timer().now());
    co_await env.timer().atTime(next);
    auto now = env.timer().now();
    lookAtOneself(now);
    while (!order.empty() && order.top().first <= now) {
      auto nodeId = order.top().second;
      order.pop();
      auto it = expected.find(nodeId);
      if (it == expected.end()) continue;
      if (it->second.look > now) {
        order.emplace(it->second.look, nodeId);
        continue;
      }
      if (look(nodeId, it->second, now)) {
        order.emplace(it->second.look, nodeId);
      } else {
        expected.erase(nodeId);
      }
    }
  }
  watched = nullptr;
}

}  // namespace orch::control::manager
