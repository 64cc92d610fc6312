// Who is alive: of each node a beat is expected by a time. One that is silent for the greater part
// of it is suspected, and who misses it is told once. Nodes whose beats somebody else hears cost
// nothing as long as all is well with them: he is asked for the others, ten times in a limit.
#pragma once

#include <kj/async.h>

#include <map>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/task.h"

namespace orch::control::manager {

class BeatWatch final {
 public:
  // Who knows of other beats than those that the watch was told of, and is told what follows.
  class Observer {
   public:
    virtual ~Observer() noexcept(false) {}
    // The time of the node's newest beat; nothing if there never was one.
    virtual kj::Maybe<kj::TimePoint> newestBeat(const std::string& nodeId) = 0;
    // There was one that the watch was not told of. Whether all is well with the node.
    virtual bool beaten(const std::string& nodeId) = 0;
    // Nodes that have such beats, but none since then, or that are not well.
    virtual std::vector<std::string> unwell(kj::TimePoint since) = 0;
    // It may be gone: time to ask it.
    virtual void suspected(const std::string& nodeId) = 0;
    // It is taken for gone. Whether its beats are to be looked at still.
    virtual bool missed(const std::string& nodeId, const std::string& reason) = 0;
  };
  // After a beat, the next one is expected within `limit`. If this loop has stood still for longer
  // than that, the nodes have given up their connections, and get `grace` to make new ones.
  BeatWatch(Env& env, kj::Duration limit, kj::Duration grace, Observer& observer)
      : env(env), limit(limit), grace(grace), observer(observer), watcher(kj::READY_NOW) {}
  KJ_DISALLOW_COPY(BeatWatch);

  // It was heard.
  void beat(const std::string& nodeId);
  // Replaces what was expected of the node. `reason`: of its absence, if nothing is heard.
  void expect(const std::string& nodeId, kj::Duration within, const std::string& reason);
  // Whoever is expected at all gets so long from now.
  void expectAll(kj::Duration within);
  // From now on nobody else hears its beats. To be called while its newest one is known still.
  void alone(const std::string& nodeId);
  void stop();

 private:
  struct Expectation {
    kj::TimePoint since = kj::origin<kj::TimePoint>();  // beats before it were known
    kj::TimePoint due = kj::origin<kj::TimePoint>();
    kj::TimePoint look = kj::origin<kj::TimePoint>();  // when the watch looks at it
    std::optional<kj::TimePoint> queued;               // time of its entry; nothing: it is swept
    bool suspected = false;
    bool gone = false;
    std::string reason;  // empty: silence
  };
  using Entry = std::pair<kj::TimePoint, std::string>;
  Task<void> watch();
  void watchUntil(kj::TimePoint time);
  kj::Maybe<kj::TimePoint> nextTurn() const;
  void set(Expectation& node, kj::TimePoint since, kj::Duration within);
  void enqueue(const std::string& nodeId, Expectation& node);
  void sweep(kj::TimePoint now);
  void lookAtDue(kj::TimePoint now);
  // Whether this loop has stood still until now.
  void lookAtOneself(kj::TimePoint now);
  enum class Next { LOOK, SWEEP, FORGET };
  Next look(const std::string& nodeId, Expectation& node, kj::TimePoint now);
  std::string silence() const;

  Env& env;
  const kj::Duration limit;
  const kj::Duration grace;
  kj::TimePoint lenientUntil = kj::origin<kj::TimePoint>();
  Observer& observer;
  std::map<std::string, Expectation> expected;
  // One entry of each node that is not swept, at its time or before: a beat only moves `look`.
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> order;
  size_t swept = 0;  // nodes
  kj::TimePoint nextSweep = kj::origin<kj::TimePoint>();
  kj::Maybe<kj::TimePoint> watched;  // when `watcher` looks again
  kj::Promise<void> watcher;
};

}  // namespace orch::control::manager
