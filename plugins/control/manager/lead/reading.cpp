// What this manager can be read from, whether it leads, follows, or nobody leads.
#include <utility>

#include "lead/leadership.h"
#include "orch/fail.h"

namespace orch::control::manager {

kj::Promise<void> Leadership::settled() {
  if (current == Role::OUTSIDER) return whyNone();
  if (leads() || following != nullptr) return kj::READY_NOW;
  std::erase_if(waiting, [](auto& one) { return !one->isWaiting(); });
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting.push_back(kj::mv(pair.fulfiller));
  auto late = env.timer().afterDelay(PATIENCE).then([this]() { fail(refusal()); });
  return pair.promise.exclusiveJoin(kj::mv(late));
}

kj::String Leadership::refusal() const {
  return kj::str("no manager leads the cluster at the moment; tasks run on (", reason,
                 "); 'orch cluster status' says more");
}

kj::Promise<void> Leadership::readable() {
  bool waits = isOld() && current != Role::OUTSIDER;
  bool knows = !manager.state().all(Kind::CLUSTER).empty();
  if (!waits || !knows) return settled();
  auto until = unledSince + READ_PATIENCE;
  if (cutOff || env.timer().now() >= until) return kj::READY_NOW;
  auto late = env.timer().atTime(until);
  return settled().exclusiveJoin(kj::mv(late));
}

int64_t Leadership::knownNs() const {
  return env.nowNs() - (env.timer().now() - knownAt) / kj::NANOSECONDS;
}

void Leadership::noteBeat(const std::string& nodeId, schema::ManagerPeer::BeatParams::Reader beat) {
  followers.insert_or_assign(nodeId, FollowerBeat{env.timer().now(), beat.getBehindMs(),
                                                  beat.getTrouble().cStr(), beat.getHas().cStr()});
}

bool Leadership::couldLead(const std::string& nodeId) const {
  if (nodeId == host.node().id.cStr()) return true;
  KJ_IF_MAYBE (beat, beatOf(nodeId)) {
    bool lately = env.timer().now() - beat->at <= (2 + MISSED_BEATS) * BEAT;
    return lately && members.hasAuthority() && beat->authority == members.authorityDigest();
  }
  return false;
}

kj::Maybe<Leadership::FollowerBeat> Leadership::beatOf(const std::string& nodeId) const {
  auto found = followers.find(nodeId);
  if (found == followers.end()) return nullptr;
  return found->second;
}

void Leadership::lose(kj::String why) {
  if (following != nullptr) {
    unledSince = env.timer().now();
    manager.noteUnled();
  }
  following = nullptr;
  reason = kj::mv(why);
}

// Since when the copy has not been what the leader had, as far as is known.
int64_t Leadership::behindMs() const {
  KJ_IF_MAYBE (copy, replica) {
    if ((*copy)->revision() > 0) return (env.timer().now() - knownAt) / kj::MILLISECONDS;
  }
  return -1;
}

kj::String Leadership::trouble() const {
  KJ_IF_MAYBE (copy, replica) return kj::str((*copy)->trouble());
  return kj::String();
}

void Leadership::keepCopy(schema::ManagerPeer::BeatResults::Reader beat, kj::TimePoint askedAt) {
  KJ_IF_MAYBE (copy, replica) {
    bool there = (*copy)->store() == beat.getStore();
    auto reached = (*copy)->revision();
    auto now = env.timer().now();
    bool all = there && reached >= beat.getRevision();
    if (all) knownAt = askedAt;  // or more: the answer was on its way
    bool moves = reached != std::exchange(copiedUpTo, reached);
    if (moves || reached == 0 || all) copyMovedAt = now;
    if (there && now - copyMovedAt < StateReplica::PATIENCE) return;
  }
  copyMovedAt = env.timer().now();
  replica = nullptr;
  auto check = [this](const State& state, uint64_t) {
    if (state.all(Kind::CLUSTER).empty()) fail(stateless());
    if (!isOwn(state)) fail(foreign());
  };
  replica = kj::heap<StateReplica>(env, host, manager, beat.getStore(),
                                   settings.getStoreTimeoutMs() * kj::MILLISECONDS, kj::mv(check));
}

}  // namespace orch::control::manager
