// Who is alive: of each node a beat is expected by a time, and who misses it is told once.
#pragma once

#include <kj/async.h>
#include <kj/function.h>

#include <map>
#include <queue>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/task.h"

namespace orch::control::manager {

class BeatWatch final {
 public:
  using Missed = kj::Function<void(const std::string& nodeId)>;
  BeatWatch(Env& env, Missed missed) : env(env), missed(kj::mv(missed)), watcher(kj::READY_NOW) {}
  KJ_DISALLOW_COPY(BeatWatch);

  // Replaces what was expected of the node.
  void expect(const std::string& nodeId, kj::Duration within);
  // Whoever is expected at all gets so long from now.
  void expectAll(kj::Duration within);
  void stop();

 private:
  using Entry = std::pair<kj::TimePoint, std::string>;
  Task<void> watch();
  void watchUntil(kj::TimePoint time);

  Env& env;
  Missed missed;
  std::map<std::string, kj::TimePoint> due;
  // One entry of each node, at its time or before: a beat only moves `due`.
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> order;
  kj::Maybe<kj::TimePoint> watched;  // when `watcher` looks again
  kj::Promise<void> watcher;
};

}  // namespace orch::control::manager
