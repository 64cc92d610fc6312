// A manager that does not lead looks for the one that does, stays with it, and takes the lead when
// it is gone.
#include <kj/debug.h>

#include <algorithm>
#include <utility>

#include "lead/leadership.h"
#include "lead/state-copy.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/gateway.capnp.h"

namespace orch::control::manager {

namespace {
constexpr uint32_t LAST_BEATS = 300;
constexpr uint32_t TOLD_AFTER_BEATS = 5;  // that it cannot have the lock of the others
constexpr kj::Duration REACH_LIMIT = 3 * kj::SECONDS;
// A connection that is kept is asked once a second, and as a worker's it is given up when there has
// been no answer for three.
constexpr uint32_t ASKED_EVERY_BEATS = 5;
constexpr uint32_t SILENT_BEATS = 15;
}  // namespace

// The connection with the session of this host's node, when its leader has missed beats. A packet
// or two may have been lost; with the connection the session would end, and the node be taken for
// gone. It is kept as long as it answers and the node has no other session.
class Leadership::KeptWay final {
 public:
  explicit KeptWay(Leadership& leadership) : leadership(leadership) {}
  KJ_DISALLOW_COPY(KeptWay);

  void keep(const std::string& to, schema::Gateway::Client by) {
    forget();
    address = to;
    port = by;
    asking = ask(kj::mv(by)).promise().eagerlyEvaluate(nullptr);
  }
  void forget() {
    asking = nullptr;
    port = nullptr;
    address.clear();
  }

  std::string address;
  kj::Maybe<schema::Gateway::Client> port;  // nothing: there is none, or it was given up

 private:
  Task<void> ask(schema::Gateway::Client by) {
    co_await attempt(whileItAnswers(kj::mv(by)));
    port = nullptr;
  }
  Task<void> whileItAnswers(schema::Gateway::Client by) {
    while (!leadership.carriesSession) {
      auto answered = by.versionRequest().send().ignoreResult();
      auto silence = leadership.beats(SILENT_BEATS).promise().then([]() {
        fail(kj::str("it does not answer"));
      });
      co_await answered.exclusiveJoin(kj::mv(silence));
      co_await leadership.beats(ASKED_EVERY_BEATS);
    }
  }

  Leadership& leadership;
  kj::Promise<void> asking = nullptr;
};

// Asks managers at their addresses, all at once, until one of them leads.
class Leadership::Search final {
 public:
  // The leader, and its port, which has to be held on to: with it the connection ends.
  struct Found {
    schema::ManagerPeer::Client peer;
    schema::Gateway::Client port;
    std::string address;
    bool kept;  // the connection is
  };

  Search(Leadership& leadership, const std::vector<std::string>& addresses, KeptWay& kept)
      : env(leadership.env), trust(leadership.host.service<schema::Trust>("trust")) {
    auto pair = kj::newPromiseAndFulfiller<Found>();
    fulfiller = kj::mv(pair.fulfiller);
    found = pair.promise.fork();
    KJ_IF_MAYBE (port, kept.port) start(tryAgain(*port, kept.address));
    for (auto& address : addresses) start(keepTrying(address));
  }
  kj::Promise<void> heard() { return found.addBranch().ignoreResult(); }
  // If it is found within a beat. Nobody is asked any more then.
  Task<kj::Maybe<Found>> wait() {
    auto heard = found.addBranch().then([](Found&& found) { return kj::Maybe<Found>(found); });
    auto later = env.timer().afterDelay(BEAT).then([]() { return kj::Maybe<Found>(nullptr); });
    auto leader = co_await heard.exclusiveJoin(kj::mv(later));
    if (leader != nullptr) tries.clear();
    co_return kj::mv(leader);
  }

 private:
  void start(Task<void> attempts) {
    tries.add(kj::mv(attempts).promise().eagerlyEvaluate(nullptr));
  }
  Task<void> keepTrying(std::string address) {
    for (;;) {
      auto asked = co_await attempt(limited(reach(address)));
      if (asked.ok()) {
        fulfiller->fulfill(kj::mv(asked.value()));
        co_return;
      }
      co_await env.timer().afterDelay(BEAT / 2);
    }
  }
  // Once: when it is given up, nobody else holds on to it.
  Task<void> tryAgain(schema::Gateway::Client port, std::string address) {
    auto asked = co_await attempt(limited(ask(kj::mv(port), kj::mv(address), true)));
    if (asked.ok()) fulfiller->fulfill(kj::mv(asked.value()));
  }
  kj::Promise<Found> limited(Task<Found> asking) {
    auto limit = env.timer().afterDelay(REACH_LIMIT).then([]() -> Found {
      fail(kj::str("it does not answer"));
    });
    return kj::mv(asking).promise().exclusiveJoin(kj::mv(limit));
  }
  Task<Found> reach(std::string address) {
    auto reaching = trust.reachRequest();
    reaching.setAddress(address.c_str());
    auto reached = co_await reaching.send();
    auto port = reached.getGateway().castAs<schema::Gateway>();
    co_return co_await ask(kj::mv(port), kj::mv(address), false);
  }
  Task<Found> ask(schema::Gateway::Client port, std::string address, bool kept) {
    auto there = co_await port.servicesRequest().send();
    bool leads = false;
    for (auto name : there.getNames()) leads |= name == "manager";
    if (!leads) fail(kj::str("it does not lead"));
    auto finding = port.serviceRequest();
    finding.setName("manager");
    auto answer = co_await finding.send();
    Found leader{answer.getCapability().castAs<schema::ManagerPeer>(), kj::mv(port),
                 kj::mv(address), kept};
    co_return kj::mv(leader);
  }

  Env& env;
  schema::Trust::Client trust;
  kj::Own<kj::PromiseFulfiller<Found>> fulfiller;
  kj::ForkedPromise<Found> found = nullptr;
  kj::Vector<kj::Promise<void>> tries;
};

Task<void> Leadership::follow(bool lost) {
  using Asked = kj::Maybe<Outcome<StoreClient::Lead>>;
  become(Role::FOLLOWER);
  kj::Maybe<Former> gone;
  lostAddress.clear();
  KeptWay kept(*this);
  for (;;) {
    Search search(*this, others(), kept);
    for (uint32_t silent = 1;; ++silent) {
      auto found = co_await search.wait();
      KJ_IF_MAYBE (leader, found) {
        carriesSession = leader->kept;
        if (leader->kept || leader->address != kept.address) kept.forget();
        auto ended = co_await attempt(stayWith(leader->peer, lost));
        bool followed = following != nullptr;
        bool carried = std::exchange(carriesSession, false);
        tending.rest();
        hasFollowed |= followed;
        if (followed) {
          firstBeats = FIRST_BEATS;
          lostAddress = leader->address;
          bool closed = ended.error().getType() == kj::Exception::Type::DISCONNECTED;
          gone = Former{"", heardAt, closed};
          if (!closed && carried) kept.keep(leader->address, leader->port);
        }
        lose(kj::str("the leader is gone: ", ended.message()));
        if (followed) host.log().warn("manager.leader-lost", {{"reason", ended.message()}});
        break;
      }
      if (homeless) continue;
      auto asking = attempt(lost ? findState() : store->lead()).promise();
      auto answered = asking.then([](auto&& outcome) { return Asked(kj::mv(outcome)); });
      auto heard = search.heard().then([]() { return Asked(nullptr); });
      auto asked = co_await answered.exclusiveJoin(kj::mv(heard));
      if (asked == nullptr) continue;
      auto& outcome = KJ_ASSERT_NONNULL(asked);
      if (!outcome.ok()) {
        reason = kj::str("the store '", place, "' cannot be used: ", outcome.message());
        silent = 0;
        continue;
      }
      auto& lead = outcome.value();
      if (lost || lead.leader == host.node().id.cStr()) co_return;
      if (!movedTo(lead.leader).empty()) co_return;
      if (std::exchange(epoch, lead.epoch) != lead.epoch) {
        silent = 0;
        gone = nullptr;  // yet another one leads since
        lostAddress.clear();
      }
      if (silent > (hasFollowed ? 0 : firstBeats) + 2 * turn()) {
        // Where managers do not reach each other, though all reach the store, the lead must not go
        // back and forth all the time.
        if (!hasFollowed) firstBeats = std::min(2 * firstBeats, LAST_BEATS);
        hasFollowed = false;
        KJ_IF_MAYBE (known, gone) {
          former = Former{lead.leader, known->heardAt, known->closed};
        }
        co_return;
      }
    }
  }
}

Task<void> Leadership::stayWith(schema::ManagerPeer::Client peer, bool lost) {
  using Beat = capnp::Response<schema::ManagerPeer::BeatResults>;
  std::vector<std::string> known;
  copyMovedAt = env.timer().now();  // without a leader there was nothing to tell
  for (;;) {
    auto request = peer.beatRequest();
    auto askedAt = env.timer().now();
    request.setBehindMs(behindMs());
    request.setTrouble(trouble());
    if (members.hasAuthority()) request.setHas(members.authorityDigest().c_str());
    kj::Promise<Beat> asked = request.send();
    auto beat = co_await inTime(kj::mv(asked));
    heardAt = env.timer().now();
    epoch = beat.getEpoch();
    if (leaderStore != beat.getStore()) {
      leaderStore = kj::str(beat.getStore());
      if (!homeless && leaderStore != place) co_await lookWhere(kj::str(leaderStore));
    }
    std::vector<std::string> now;
    for (auto address : beat.getManagers()) now.emplace_back(address.cStr());
    if (now != known) {
      auto kept = co_await attempt(members.know(now));
      if (kept.ok()) known = kj::mv(now);
    }
    if (beat.getStore().size() > 0) keepCopy(beat, askedAt);
    if (!members.hasAuthority(beat.getAuthority())) {
      co_await followAuthority(peer, beat.getAuthority().cStr());
    }
    if (beat.getLock() != members.lockName().c_str()) {
      co_await followLock(peer);
    }
    if (following != nullptr) continue;
    if (homeless) co_await settleIn(peer);
    if (lost) co_await lookWhere(kj::str(leaderStore));
    following = peer;
    cutOff = false;
    tending.follow([this]() { return newStore(leaderStore); }, peer);
    become(Role::FOLLOWER);
    host.log().info("this manager follows the leader", {{"epoch", epoch}});
    if (std::exchange(releases, false)) co_await release();
  }
}

// Again with the next beat: whoever cannot write it down, as on a full disk, follows all the same.
Task<void> Leadership::followAuthority(schema::ManagerPeer::Client peer, std::string digest) {
  auto taken = co_await attempt(takeAuthority(kj::mv(peer), kj::mv(digest)));
  authorityRefused = taken.ok() ? 0 : authorityRefused + 1;
  if (authorityRefused == TOLD_AFTER_BEATS) {
    host.log().warn("trust.authority-not-taken, trying with each beat",
                    {{"reason", taken.message()}});
  }
  if (!taken.ok() && !members.hasAuthority()) kj::throwFatalException(kj::mv(taken.error()));
}

Task<void> Leadership::takeAuthority(schema::ManagerPeer::Client peer, std::string digest) {
  kj::Promise<capnp::Response<schema::ManagerPeer::AuthorityResults>> asked =
      peer.authorityRequest().send();
  auto secret = co_await inTime(kj::mv(asked));
  co_await members.takeAuthority(secret.getSecret().cStr(), kj::mv(digest));
}

// Again with the next beat, as while it is being changed.
Task<void> Leadership::followLock(schema::ManagerPeer::Client peer) {
  auto taken = co_await attempt(takeLock(peer));
  lockRefused = taken.ok() ? 0 : lockRefused + 1;
  if (lockRefused != TOLD_AFTER_BEATS) co_return;
  host.log().warn("trust.lock-not-taken, trying with each beat", {{"reason", taken.message()}});
}

Task<void> Leadership::takeLock(schema::ManagerPeer::Client peer) {
  kj::Promise<capnp::Response<schema::ManagerPeer::LockKeyResults>> asked =
      peer.lockKeyRequest().send();
  auto answer = co_await inTime(kj::mv(asked));
  auto key = answer.getKey().asChars();
  co_await members.followLock(std::string(key.begin(), key.size()));
}

std::vector<std::string> Leadership::others() const {
  auto found = members.knownManagers();
  std::erase(found, std::string(members.address().cStr()));
  return found;
}

uint32_t Leadership::turn() const {
  auto all = members.knownManagers();
  std::erase(all, lostAddress);
  std::sort(all.begin(), all.end());
  auto own = std::find(all.begin(), all.end(), std::string(members.address().cStr()));
  return static_cast<uint32_t>(own - all.begin());  // who is not among them comes last
}

}  // namespace orch::control::manager
