// Who leads the cluster, and what this manager does about it. Where several hosts reach the state,
// one manager leads, and the others follow it: they hand on what they are asked, and when it falls
// silent, one of them takes the lead.
//
//   OUTSIDER  the state is another cluster's, or one that this host has not joined: it lets it be
//   FOLLOWER  is with the leader, beat by beat, or looks for it, also when its own store is silent;
//             if there is none, it raises the epoch in the store, unless somebody else has. It
//             keeps a copy of the state, so that its users can read what was known last when nobody
//             leads
//   LEADER    decides, and asks the store every second whether it still leads. When somebody else
//             does, or the store says nothing for two seconds, it lets go of all nodes and follows.
//             As long as the store is silent, its users can read what it knew last
//
// A store that no other host reaches has one manager, which leads from the start. Where the state
// has moved on from the store of the settings, it is followed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lead/restored.h"
#include "lead/state-copy.h"
#include "lead/state-replica.h"
#include "lead/store-tending.h"
#include "manager.h"
#include "member/membership.h"
#include "orch/fail.h"
#include "orch/schema/manager.capnp.h"

namespace orch::control::manager {

class Leadership final : public ChangeObserver {
 public:
  enum class Role { UNKNOWN, OUTSIDER, FOLLOWER, LEADER };
  static constexpr kj::Duration BEAT = 200 * kj::MILLISECONDS;
  static constexpr uint32_t MISSED_BEATS = 3;
  // One that has not been with the leader looks for it for so long, and twice as long each time
  // that this was in vain.
  static constexpr uint32_t FIRST_BEATS = 25;
  // How long whoever asks waits for a leader to come. Since the last one has gone, whoever only
  // reads waits for less.
  static constexpr kj::Duration PATIENCE = 10 * kj::SECONDS;
  static constexpr kj::Duration READ_PATIENCE = 3 * kj::SECONDS;

  // Who led before this one, which has followed it and has lost it.
  struct Former {
    std::string nodeId;
    kj::TimePoint heardAt;  // for the last time
    bool closed = false;    // its host has ended the connection
  };
  // `led`: called each time that this one begins to lead, before anybody is served.
  using Led = kj::Function<kj::Promise<void>(const kj::Maybe<Former>&)>;
  Leadership(Env& env, Host& host, Manager& manager, Membership& members, Config::Reader settings,
             Led led);
  ~Leadership() noexcept(false);
  KJ_DISALLOW_COPY(Leadership);

  // With a store of its own it leads when this settles, or this fails. Otherwise that comes later.
  Task<void> start();
  Task<void> stop();
  // Before `start`: it does nothing, and says why.
  void waitForKey();

  Role role() const { return current; }
  bool leads() const { return current == Role::LEADER; }
  // Fails unless this one leads.
  void requireLead() const;
  // Settles when the store has said, asked after this call, that nobody else leads: what is known
  // here is then what is. Fails with DISCONNECTED when that is not so, or not any more when the
  // store has been silent for long.
  kj::Promise<void> confirmed();
  // It led, and its store has been silent since.
  bool isCutOff() const { return cutOff; }
  // Settles when this one leads or follows a leader; fails after PATIENCE with the reason.
  kj::Promise<void> settled();
  // The same, but also when nobody leads and this one knows what was known last: see `isOld`.
  kj::Promise<void> readable();
  // What this manager has of the state is not what a leader has; then of when it is.
  bool isOld() const { return !leads() && following == nullptr; }
  int64_t asOfNs() const { return isOld() ? knownNs() : 0; }
  int64_t knownNs() const;
  // Whoever has been let in by what was known last is looked at anew by who leads next.
  void releaseWhenLed() { releases = true; }
  // Why nobody leads.
  kj::StringPtr whyNobody() const { return reason; }
  uint64_t knownEpoch() const { return leads() ? manager.epoch() : epoch; }
  int64_t ledSinceNs() const { return leadsSinceNs; }  // by this one

  // ---- who follows this one ----
  struct FollowerBeat {
    kj::TimePoint at;
    int64_t behindMs;
    std::string trouble;    // what is wrong with its way to the state; empty: nothing
    std::string authority;  // the digest of the one whose key it has
  };
  void noteBeat(const std::string& nodeId, schema::ManagerPeer::BeatParams::Reader beat);
  // Whether a node could lead at once, as far as this one, which leads, can tell.
  bool couldLead(const std::string& nodeId) const;
  kj::Maybe<FollowerBeat> beatOf(const std::string& nodeId) const;
  // The leader that this one follows.
  kj::Maybe<schema::ManagerPeer::Client> leader() { return following; }
  // This host's node is about to have its session with that one, by the connection that it is
  // followed by.
  void noteSession() { carriesSession = true; }

  // The state into the store of that name, or at that URI, which it is in from then on. Answers
  // which one it is, how many objects it has, and for how long changes had to wait.
  struct Moved {
    std::string name;
    size_t objects = 0;
    kj::Duration paused = 0 * kj::SECONDS;
  };
  Task<Moved> migrate(kj::String to);
  // This one leads, alone and on a store of its own: what a backup says is the state from now on.
  // Other nodes that managed, or that nobody reaches, are none of it any more.
  Task<void> restore(Restored restored);
  // Nobody leads, and nobody will: this one goes on alone with what it knows.
  struct Alone {
    kj::String store;
    int64_t asOfNs = 0;
    std::vector<std::string> removed;  // host names of other managers
  };
  Task<Alone> forceNew();
  // This host is about to be in no cluster any more.
  Task<void> leaveCluster();
  // Sees to it that a node can become a manager. Fails, with what to do, if it cannot.
  Task<void> preparePromotion(std::string nodeId);
  // Sees to it that other hosts reach the state: it moves, if there is one store that it can move
  // to, here and on the node. `nodeId`: empty of a host that is yet to join.
  Task<void> share(std::string nodeId);
  // The service that the state is in.
  kj::StringPtr storeName() const { return place; }
  // A locked manager has none yet.
  bool hasStore() const { return store.get() != nullptr; }
  StoreClient& currentStore() { return *store; }
  kj::StringPtr storeUri() const { return placeUri; }
  // Of one that follows: why the state that its store has is not the leader's; empty: it is.
  kj::String trouble() const;
  // Of the store's own servers, if it runs them itself.
  kj::StringPtr serversWaitFor() const { return tending.waitsFor(); }
  // For a manager that has no server of the store's, where the store runs them itself.
  Task<kj::Array<kj::byte>> inviteServer(std::string nodeId, std::string address);
  // Names those servers; empty: there are none.
  Task<std::string> serversName();

  // `orch init` on a host that has not joined: it leads, if nobody could have joined what is there,
  // and nothing runs.
  Task<void> claimLead();

  void changing(const Key&, const Snapshot&, const Snapshot&) override {}
  void deposed() override;

 private:
  class KeptWay;  // to a leader
  class Search;   // for one
  // Another one from now on; whether other hosts reach it.
  Task<bool> useStore(kj::String name);
  kj::Own<StoreClient> newStore(kj::StringPtr name);
  Task<StoreLimits> limitsOf(StoreClient& store, kj::StringPtr name);
  // Who leads, where the state is.
  Task<StoreClient::Lead> findState();
  // That all managers will reach it.
  void checkTarget(kj::StringPtr name, bool shared) const;
  Task<kj::String> storeAt(kj::String to);
  capnp::List<capnp::Text>::Reader ownPlugins() const;
  kj::String noStoreAt(kj::StringPtr to) const;
  Task<Moved> move(kj::String name);
  Task<kj::String> leave(StateCopy& copy, kj::Own<StoreClient> target, uint64_t now, Moved& done);
  // In alone.cpp.
  std::string homeFile() const;
  Task<kj::String> findHome();
  Task<void> noteHome(kj::String name);
  Task<void> clearRestored(StoreClient::Lead lead);
  Task<bool> beginsAnew(StoreClient::Lead lead);
  Task<kj::String> replaceState(Restored& restored, uint64_t now);
  Task<void> goOnAlone(Alone& alone);
  Task<void> beginAlone(StoreClient& target, kj::StringPtr name, uint64_t expected, Alone& alone);
  Task<void> takeBack(StoreClient& target, std::string mark);
  Task<void> leaveServers(std::string but);
  bool isHeard(const StoreClient::Lead& lead) const;
  Task<bool> leadAlone();
  void startRunning(kj::Promise<void> first);
  Task<void> run();
  Task<void> leadOn();
  Task<void> settleIn(schema::ManagerPeer::Client peer);
  // The store runs its servers itself, and none is on this host.
  Task<bool> isWithoutServer();
  bool isOwn(const State& state) const;
  Manager::Check strictCheck();
  Task<void> refuse();
  kj::String foreign() const;
  kj::String stateless() const;
  Task<void> forgetOthers();
  Task<void> waitToTry();
  Task<void> lead();
  Task<bool> endCopy(uint64_t revision);
  // Whether it ended because the store was silent.
  Task<bool> keepLeading();
  // For as long as it leads: the state keeps no key that all managers have.
  Task<void> forgetKeys();
  bool haveAllTheKey(schema::Cluster::Reader cluster) const;
  Task<void> letGo();
  // Ends the connections of all others.
  Task<void> release();
  // Until this one may take the lead. `lost`: the store has not said where the state is; until it
  // does, then.
  Task<void> follow(bool lost = false);
  // At a store that is silent, or not the one, the state is not found later either.
  Task<void> lookWhere(kj::String leaders);
  Task<void> stayWith(schema::ManagerPeer::Client peer, bool lost);
  void keepCopy(schema::ManagerPeer::BeatResults::Reader beat, kj::TimePoint askedAt);
  int64_t behindMs() const;
  void lose(kj::String why);
  Task<void> takeAuthority(schema::ManagerPeer::Client peer, std::string digest);
  Task<void> followAuthority(schema::ManagerPeer::Client peer, std::string digest);
  Task<void> takeLock(schema::ManagerPeer::Client peer);
  Task<void> followLock(schema::ManagerPeer::Client peer);
  Task<void> beats(uint32_t count);
  // Fails if the leader does not answer: a process that stands still keeps its connections.
  template <typename T>
  kj::Promise<T> inTime(kj::Promise<T> asked) {
    auto silence = beats(1 + MISSED_BEATS).promise().then([]() -> T {
      fail(kj::str("it has missed ", MISSED_BEATS, " beats"));
    });
    return asked.exclusiveJoin(kj::mv(silence));
  }
  void become(Role next);
  kj::Exception whyNone() const;
  Task<void> confirm();
  void refuseUnconfirmed();
  kj::Exception whyNotConfirmed() const;
  kj::String refusal() const;
  // Fails if the state is not one for this manager to decide on, or not any more.
  void checkState(const State& state, uint64_t loaded) const;
  // Where other managers may be, and after how many beats without a leader it is this one's turn.
  // The leader that was lost has none.
  std::vector<std::string> others() const;
  uint32_t turn() const;

  Env& env;
  Host& host;
  Manager& manager;
  Membership& members;
  Config::Reader settings;
  Led led;
  kj::String home;      // the name of the store that this one begins at
  kj::String place;     // and of `store`
  kj::String placeUri;  // which servers have it
  kj::Own<StoreClient> store;
  StoreTending tending;
  kj::Own<StoreClient> left;  // by the state, which `moved` on
  bool moved = false;         // from one that said so
  bool homeless = false;      // a manager that does not know, or not reach, its cluster's state yet
  kj::String movesTo;         // while it does
  kj::String movesToUri;
  kj::String leaderStore;  // where the leader says that the state is
  kj::ForkedPromise<Moved> moving = nullptr;
  Role current = Role::UNKNOWN;
  kj::String reason = kj::str("this manager is starting");  // why there is no leader
  kj::Maybe<schema::ManagerPeer::Client> following;
  bool carriesSession = false;               // of this host's node: the connection to it
  kj::Maybe<kj::Own<StateReplica>> replica;  // of one that follows
  kj::TimePoint knownAt;                     // when what it has was what the leader had
  uint64_t copiedUpTo = 0;                   // by it, at the last beat
  kj::TimePoint copyMovedAt = kj::origin<kj::TimePoint>();
  kj::TimePoint unledSince;
  int64_t leadsSinceNs = 0;
  std::map<std::string, FollowerBeat> followers;
  uint64_t epoch = 0;                                   // the last that is known
  bool hasFollowed = false;                             // the leader that it looks for
  std::string lostAddress;                              // of that one
  kj::TimePoint heardAt = kj::origin<kj::TimePoint>();  // it
  kj::Maybe<Former> former;                             // since this one is to lead, or does
  uint32_t firstBeats = FIRST_BEATS;
  bool claims = false;
  bool locked = false;
  bool cutOff = false;
  bool releases = false;
  bool goesAlone = false;
  bool wentAlone = false;         // before this start
  uint32_t authorityRefused = 0;  // so many beats, one after the other
  uint32_t lockRefused = 0;       // the same
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> claim;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> loss;  // of the lead
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
  // Who wants it confirmed that this one leads: those that the store is being asked for, and those
  // that have come since.
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> inQuestion, unconfirmed;
  bool confirming = false;
  kj::Promise<void> confirmation = kj::READY_NOW;
  kj::Promise<void> running = kj::READY_NOW;
};

}  // namespace orch::control::manager
