#include "session/beat-watch.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration TOLERATED_LAG = 200 * kj::MILLISECONDS;
}  // namespace

void BeatWatch::expect(const std::string& nodeId, kj::Duration within) {
  auto time = env.timer().now() + within;
  auto inserted = due.try_emplace(nodeId, time);
  bool earlier = !inserted.second && time < inserted.first->second;
  inserted.first->second = time;
  // One that is expected earlier than before gets a second entry; the older one is skipped.
  if (inserted.second || earlier) order.emplace(time, nodeId);
  watchUntil(order.top().first);
}

void BeatWatch::expectAll(kj::Duration within) {
  for (auto& entry : due) entry.second = env.timer().now() + within;
}

void BeatWatch::stop() {
  due.clear();
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

Task<void> BeatWatch::watch() {
  while (!order.empty()) {
    auto next = order.top().first;
    watched = next;
    co_await env.timer().atTime(next);
    auto now = env.timer().now();
    // If this loop was stuck, it is not the agents' fault that their beats were not read.
    auto late = now - next;
    if (late > TOLERATED_LAG) {
      for (auto& entry : due) entry.second += late;
    }
    while (!order.empty() && order.top().first <= now) {
      auto nodeId = order.top().second;
      order.pop();
      auto it = due.find(nodeId);
      if (it == due.end()) continue;
      if (it->second > now) {
        order.emplace(it->second, nodeId);
        continue;
      }
      due.erase(it);
      missed(nodeId);
    }
  }
  watched = nullptr;
}

}  // namespace orch::control::manager
