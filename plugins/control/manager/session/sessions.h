// The service `dispatcher`: one session per node, through which the node's agent gets its tasks and
// reports what became of them; and who of the nodes is alive.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "manager.h"
#include "member/membership.h"
#include "orch/log-limit.h"
#include "orch/rate-table.h"
#include "orch/schema/agent.capnp.h"
#include "serve/login-safe.h"
#include "session/beat-receiver.h"
#include "session/beat-watch.h"
#include "session/cluster-feed.h"
#include "session/image-offers.h"
#include "session/image-relay.h"
#include "session/order-gate.h"

namespace orch::control::manager {

// Told when the last that is known of a task's container has gone to its agent.
class GoneObserver {
 public:
  virtual void leftover(const std::string& serviceId, int32_t change) = 0;
};

// Belongs to `owner`, which the capabilities that it hands out keep alive.
class Sessions final : public ChangeObserver,
                       private BeatWatch::Observer,
                       private kj::TaskSet::ErrorHandler {
 public:
  // Beats are heard at the address that `members` knows this node by. `watchers` observes the
  // manager before this one does.
  Sessions(kj::Refcounted& owner, Env& env, Host& host, Manager& manager, const Membership& members,
           const LoginSafe& logins, ClusterFeed& watchers, Config::Reader settings);
  ~Sessions() noexcept(false);
  KJ_DISALLOW_COPY(Sessions);

  // For the node's own agent, and for one node elsewhere: that one may speak for no other.
  schema::Dispatcher::Client dispatcher();
  schema::Dispatcher::Client dispatcherFor(std::string nodeId, schema::Role role);
  // Its connection broke. It has LOST_GRACE to open another one: a way that was lost for a moment
  // is no node that has died.
  static constexpr kj::Duration LOST_GRACE = 500 * kj::MILLISECONDS;
  // So long a node's loop may stand still before it is unknown what becomes of its tasks. Well
  // before the node's watchdog ends its orchd (`loopLimit`), or nobody would ever see it.
  static constexpr uint32_t STUCK_MS = 10'000;
  // Of a node that was removed: its session is over.
  void forget(const std::string& nodeId);
  // The agent of a node, if it has a session.
  kj::Maybe<schema::Agent::Client> agentOf(std::string_view nodeId);
  // Settles when its session is over, or the node is taken for gone; at once if it has none.
  kj::Promise<void> whenOver(std::string_view nodeId);
  // The complete set, as to one that has just come.
  void tellAgain(std::string_view nodeId);
  // Digests that a name stands for on the nodes where it was imported, and these nodes.
  std::map<std::string, std::set<std::string>> imported(kj::StringPtr image) const {
    return offers.imported(image.cStr());
  }
  // Of a node that there is; else its id.
  kj::String hostnameOf(const std::string& nodeId) const {
    auto node = manager.state().find(Kind::NODE, nodeId);
    if (node == nullptr) return kj::str(nodeId.c_str());
    return kj::str(node->as<schema::Node>().getDescription().getHostname());
  }
  void observeGone(GoneObserver& observer) { goneObserver = &observer; }
  // The node led before this one does, which has not heard from it for `silent`; `closed`: its host
  // has ended the connection. It has had that long already to be heard.
  void expectFormerLeader(const std::string& nodeId, kj::Duration silent, bool closed);
  // Refuses the calls of all sessions from now on.
  void stop();

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void applied() override;
  void reloaded() override;
  void silenced() override;

 private:
  friend class SessionServer;
  friend class DispatcherServer;
  struct Connection;

  size_t maxDescriptionBytes() const { return manager.limits().maxBytes / 4; }
  // A new session, which ends the node's last one.
  kj::Own<Connection> adopt(kj::StringPtr nodeId, schema::Agent::Client agent, bool manages);
  // Its node may beat by datagrams, too, if this one can hear them.
  void admitBeats(Connection& connection, schema::BeatTerms::Builder terms);
  kj::Maybe<Connection&> open(std::string_view nodeId);
  kj::Maybe<kj::TimePoint> newestBeat(const std::string& nodeId) override;
  bool beaten(const std::string& nodeId) override;
  std::vector<std::string> unwell(kj::TimePoint since) override {
    return receiver.unwell(since, STUCK_MS);
  }
  void suspected(const std::string& nodeId) override;
  bool missed(const std::string& nodeId, const std::string& reason) override;
  Task<void> ping(kj::Own<Connection> connection);
  void finish(Connection& connection);
  using FindContext =
      capnp::CallContext<schema::Session::FindImageParams, schema::Session::FindImageResults>;
  void findImage(Connection& asking, FindContext context);
  // Sends what the agent has to know when it is its turn, unless a call is in flight: then after
  // it.
  void push(Connection& connection);
  Task<void> sendQueued();
  template <typename F>
  void tellAll(F&& note);
  void notePeer(const std::string& id, const Snapshot& before, const Snapshot& after);
  void tellManagers(Connection& connection);
  void tellAllManagers();
  void noteManager(const Snapshot& before, const Snapshot& after);
  // In calling.cpp. Workers that have no session may not know where this manager is now.
  Task<void> keepCalling();
  std::vector<std::string> toCall(kj::TimePoint now);
  Task<void> call(std::string address);
  void notePorts(const Snapshot& before, const Snapshot& after);
  void tellPorts();
  // Draining: orders wait until nobody is led to a task any more (order-gate.h).
  bool endsServing(const Snapshot& before, const Snapshot& after);
  void holdOrders();
  void letGo(std::vector<OrderGate::Order> orders);
  Task<void> settle(kj::Own<Connection> connection, uint64_t message);
  Task<void> settleLate(kj::Duration limit);
  Task<void> settleWatchers(uint64_t message);
  void noteService(const std::string& id, const Snapshot& before, const Snapshot& after);
  void warnOfOverlaps(const Snapshot& before, const Snapshot& after);
  void noteNode(const std::string& id, const Snapshot& before, const Snapshot& after);
  void fill(schema::Agent::AssignParams::Builder params, Connection& connection);
  Task<void> assign(kj::Own<Connection> connection);
  // Fails for a node that has opened too many sessions just now.
  void checkRate(const std::string& nodeId);
  // In the log: a node that asks for what is not its own, `object`, if that has a name.
  void refused(const std::string& nodeId, kj::StringPtr reason, kj::StringPtr object);
  void countLeftover(const std::string& serviceId, int32_t change);
  void takeRestarts(View& view, std::string_view nodeId,
                    capnp::List<schema::LocalRestart>::Reader restarts);
  void closed(Connection& connection, bool leaves);
  kj::Duration graceOf(const Connection& connection, kj::Duration usual) const;
  void lost(Connection& connection);
  // Answers in how many milliseconds the next one should come.
  uint32_t beat(Connection& connection);
  // It said something in its session: it is there.
  void hear(const std::string& nodeId);
  void taskFailed(kj::Exception&& exception) override;

  bool managersChanged = false;
  kj::Refcounted& owner;
  Env& env;
  Host& host;
  Manager& manager;
  const Membership& members;
  const LoginSafe& logins;
  ClusterFeed& watchers;
  uint64_t toldWatchers = 0;  // so often they were waited for
  Config::Reader settings;
  std::map<std::string, kj::Own<Connection>, std::less<>> connections;  // the newest of each node
  std::set<std::string> toPush;  // nodes whose tasks changed in this batch
  std::deque<kj::Own<Connection>> sendQueue;
  bool sending = false;
  std::set<std::string> portsChanged;  // nodes whose part of published ports did
  OrderGate gate;
  GoneObserver* goneObserver = nullptr;
  bool stopped = false;
  LogLimit refusals;
  RateTable opened{2, 20};  // sessions of each node: per second, and at once
  BeatReceiver receiver;
  std::string deafAt;  // an address that it could not listen at
  BeatWatch beats;
  struct Call {
    kj::TimePoint due = kj::origin<kj::TimePoint>();
    uint64_t pauseMs = 0;
  };
  std::map<std::string, Call> calls;  // by node
  ImageOffers offers;
  RelayPlaces relayPlaces;
  kj::Promise<void> calling = kj::READY_NOW;
  kj::TaskSet tasks;
};

}  // namespace orch::control::manager
