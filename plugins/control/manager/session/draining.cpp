// A task that others are led to is ended in this order: every node that leads connections to it is
// told that it takes no new ones, each says that this is in force, and then its own node is told to
// end it, which it does when its connections have nothing under way (plugins/control/agent). So are
// those who lead others to the cluster's tasks by themselves (cluster-feed.h).
#include "orch/attempt.h"
#include "session/connection.h"

namespace orch::control::manager {

namespace {
// Of a node that does not say it: as long as it may be silent before it is down, and a bit.
constexpr kj::Duration IN_FORCE_LIMIT = 3 * kj::SECONDS;
// The books of OrderGate have those who watch as one more node.
constexpr const char* WATCHERS = "";
// For their answers, and for those who follow them.
constexpr kj::Duration WATCHED_LIMIT = 2 * ClusterFeed::WATCHERS_LIMIT + 1 * kj::SECONDS;
}  // namespace

bool Sessions::endsServing(const Snapshot& before, const Snapshot& after) {
  TaskReader was(before), is(after);
  bool found = was.getLegs().size() > 0 || isServing(was) || watchers.isWatched();
  return found && isRunning(was) && !isWanted(is) && !isTerminal(is);
}

void Sessions::holdOrders() {
  if (gate.isOpen()) return;
  OrderGate::Messages awaited;
  for (auto& [nodeId, connection] : connections) {
    bool tells = !connection->over && connection->networks.owes();
    if (tells) awaited[nodeId] = connection->messages + 1;
  }
  bool watched = watchers.isWatched();
  if (watched) {
    awaited[WATCHERS] = ++toldWatchers;
    tasks.add(settleWatchers(toldWatchers));
  }
  auto limit = watched ? WATCHED_LIMIT : IN_FORCE_LIMIT;
  if (!awaited.empty()) tasks.add(settleLate(limit));
  letGo(gate.shut(std::move(awaited), env.timer().now() + limit));
}

void Sessions::letGo(std::vector<OrderGate::Order> orders) {
  std::set<std::string> nodes;
  for (auto& order : orders) {
    auto it = connections.find(order.nodeId);
    if (it == connections.end() || it->second->over) continue;
    it->second->changed.insert(order.taskId);
    nodes.insert(order.nodeId);
  }
  for (auto& nodeId : nodes) push(*connections.find(nodeId)->second);
}

// An agent that is older cannot say it.
Task<void> Sessions::settle(kj::Own<Connection> connection, uint64_t message) {
  auto request = connection->agent.settledRequest();
  auto asking = env.timer().timeoutAfter(IN_FORCE_LIMIT, request.send().ignoreResult());
  auto settled = co_await attempt(kj::mv(asking));
  bool older = !settled.ok() && settled.error().getType() == kj::Exception::Type::UNIMPLEMENTED;
  if (connection->over || (!settled.ok() && !older)) co_return;
  letGo(gate.inForce(connection->nodeId, message));
}

Task<void> Sessions::settleWatchers(uint64_t message) {
  bool settled = co_await watchers.settled();
  auto untold = settled ? std::nullopt : refusals.admit("watchers", env.timer().now());
  if (untold.has_value()) {
    host.log().warn("manager.watchers-late, ending tasks all the same",
                    {{"moreLikeIt", kj::str(*untold)}});
  }
  letGo(gate.inForce(WATCHERS, message));
}

Task<void> Sessions::settleLate(kj::Duration limit) {
  co_await env.timer().afterDelay(limit);
  std::set<std::string> late;
  auto orders = gate.expire(env.timer().now(), late);
  for (auto& nodeId : late) {
    auto untold = refusals.admit("drain", env.timer().now());
    if (!untold.has_value()) continue;
    host.log().warn("manager.drain-unconfirmed, ending tasks all the same",
                    {{"node", nodeId.c_str()}, {"moreLikeIt", kj::str(*untold)}});
  }
  letGo(kj::mv(orders));
}

}  // namespace orch::control::manager
