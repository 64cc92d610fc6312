// A task that others are led to is ended in this order: every node that leads connections to it is
// told that it takes no new ones, each says that this is in force, and then its own node is told to
// end it, which it does when its connections have nothing under way (plugins/control/agent).
#include "orch/attempt.h"
#include "session/connection.h"

namespace orch::control::manager {

namespace {
// Of a node that does not say it: as long as it may be silent before it is down, and a bit.
constexpr kj::Duration IN_FORCE_LIMIT = 3 * kj::SECONDS;
}  // namespace

bool Sessions::endsServing(const Snapshot& before, const Snapshot& after) {
  TaskReader was(before), is(after);
  bool found = was.getLegs().size() > 0 || isServing(was);
  return found && isRunning(was) && !isWanted(is) && !isTerminal(is);
}

void Sessions::holdOrders() {
  if (gate.isOpen()) return;
  OrderGate::Messages awaited;
  for (auto& [nodeId, connection] : connections) {
    bool tells = !connection->over && connection->networks.owes();
    if (tells) awaited[nodeId] = connection->messages + 1;
  }
  if (!awaited.empty()) tasks.add(settleLate());
  letGo(gate.shut(std::move(awaited), env.timer().now() + IN_FORCE_LIMIT));
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

Task<void> Sessions::settleLate() {
  co_await env.timer().afterDelay(IN_FORCE_LIMIT);
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
