#include "session/beat-watch.h"

namespace orch::control::manager {

namespace {
constexpr kj::Duration TOLERATED_LAG = 200 * kj::MILLISECONDS;
// Of one that is gone, whether its beats come again.
constexpr kj::Duration LOOK_AGAIN = 1 * kj::SECONDS;
// Of what may pass until a node is missed, so much until it is asked: longer than between two
// beats, and early enough that one whose beat was lost, and that is stopped for a second then, can
// answer.
kj::Duration silenceBefore(kj::Duration within) { return within * 9 / 20; }
}  // namespace

void BeatWatch::set(Expectation& node, kj::TimePoint since, kj::Duration within) {
  node.since = since;
  node.due = since + within;
  if (within > 0 * kj::SECONDS) node.due = kj::max(node.due, lenientUntil);
  node.look = since + silenceBefore(within);
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

void BeatWatch::beat(const std::string& nodeId) {
  auto it = expected.find(nodeId);
  bool heardAnyway = it != expected.end() && !it->second.queued;
  if (!heardAnyway) expect(nodeId, limit, "");
}

void BeatWatch::expect(const std::string& nodeId, kj::Duration within, const std::string& reason) {
  lookAtOneself(env.timer().now());
  auto inserted = expected.try_emplace(nodeId);
  auto& node = inserted.first->second;
  if (!inserted.second && !node.queued) --swept;
  set(node, env.timer().now(), within);
  node.reason = reason;
  if (!node.queued || *node.queued > node.look) enqueue(nodeId, node);
}

void BeatWatch::expectAll(kj::Duration within) {
  for (auto& [nodeId, node] : expected) {
    set(node, env.timer().now(), within);
    if (!node.queued) enqueue(nodeId, node);
  }
  swept = 0;
}

void BeatWatch::alone(const std::string& nodeId) {
  auto it = expected.find(nodeId);
  if (it == expected.end() || it->second.queued) return;
  --swept;
  auto since = env.timer().now();
  KJ_IF_MAYBE (newest, observer.newestBeat(nodeId)) since = *newest;
  set(it->second, since, limit);
  enqueue(nodeId, it->second);
}

void BeatWatch::stop() {
  expected.clear();
  order = {};
  swept = 0;
  watched = nullptr;
  watcher = kj::READY_NOW;
}

// An older entry is skipped.
void BeatWatch::enqueue(const std::string& nodeId, Expectation& node) {
  node.queued = node.look;
  order.emplace(node.look, nodeId);
  watchUntil(node.look);
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

BeatWatch::Next BeatWatch::look(const std::string& nodeId, Expectation& node, kj::TimePoint now) {
  bool beats = false;
  KJ_IF_MAYBE (newest, observer.newestBeat(nodeId)) {
    beats = true;
    if (*newest > node.since) {
      set(node, *newest, limit);
      node.reason.clear();
      if (observer.beaten(nodeId) && now - *newest <= silenceBefore(limit)) return Next::SWEEP;
      // One that is old already may only have been heard late: then there is time left to ask.
      node.look = kj::max(node.look, now);
      node.due = kj::max(node.due, now + limit * 2 / 5);
      return Next::LOOK;
    }
  }
  if (node.gone && !beats) return Next::FORGET;
  if (node.gone) {
    node.look = now + LOOK_AGAIN;
    return Next::LOOK;
  }
  if (now >= node.due) {
    node.gone = true;
    node.look = now + LOOK_AGAIN;
    bool looksOn = observer.missed(nodeId, node.reason.empty() ? silence() : node.reason);
    return looksOn ? Next::LOOK : Next::FORGET;
  }
  if (!node.suspected) {
    node.suspected = true;
    observer.suspected(nodeId);
  }
  node.look = node.due;
  return Next::LOOK;
}

// So early that who is silent is suspected in time.
void BeatWatch::sweep(kj::TimePoint now) {
  nextSweep = now + limit / 10;
  for (auto& nodeId : observer.unwell(now - silenceBefore(limit))) {
    auto it = expected.find(nodeId);
    if (it == expected.end() || it->second.queued) continue;
    --swept;
    it->second.look = now;
    enqueue(nodeId, it->second);
  }
}

void BeatWatch::lookAtDue(kj::TimePoint now) {
  while (!order.empty() && order.top().first <= now) {
    auto [at, nodeId] = order.top();
    order.pop();
    auto it = expected.find(nodeId);
    if (it == expected.end() || it->second.queued != at) continue;
    auto& node = it->second;
    auto next = node.look > now ? Next::LOOK : look(nodeId, node, now);
    if (next == Next::LOOK) {
      enqueue(nodeId, node);
    } else if (next == Next::FORGET) {
      expected.erase(it);
    } else {
      node.queued.reset();
      if (++swept == 1) nextSweep = now + limit / 10;
    }
  }
}

kj::Maybe<kj::TimePoint> BeatWatch::nextTurn() const {
  if (order.empty() && swept == 0) return nullptr;
  if (order.empty()) return nextSweep;
  return swept == 0 ? order.top().first : kj::min(order.top().first, nextSweep);
}

Task<void> BeatWatch::watch() {
  for (;;) {
    watched = nextTurn();
    KJ_IF_MAYBE (next, watched) {
      *next = kj::max(*next, env.timer().now());
      co_await env.timer().atTime(*next);
    } else {
      co_return;
    }
    auto now = env.timer().now();
    lookAtOneself(now);
    if (swept > 0 && nextSweep <= now) sweep(now);
    lookAtDue(now);
  }
}

}  // namespace orch::control::manager
