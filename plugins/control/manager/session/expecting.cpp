// How long a node has to come back when its session has ended.
#include "decide/slot-rules.h"
#include "session/connection.h"

namespace orch::control::manager {

// For another role a node starts again, as it was told to: that nobody mistakes for a loss.
kj::Duration Sessions::graceOf(const Connection& connection, kj::Duration usual) const {
  bool other = manager.state().isManager(connection.nodeId) != connection.manages;
  return other ? settings.getStartGraceMs() * kj::MILLISECONDS : usual;
}

void Sessions::closed(Connection& connection, bool leaves) {
  finish(connection);
  if (stopped) return;
  auto usual = settings.getDownAfterMs() * kj::MILLISECONDS;
  auto within = leaves ? 0 * kj::SECONDS : graceOf(connection, usual);
  beats.expect(connection.nodeId, within, leaves ? LEFT.cStr() : STOPPED.cStr());
}

void Sessions::lost(Connection& connection) {
  if (connection.over || stopped) return;
  finish(connection);
  beats.expect(connection.nodeId, graceOf(connection, LOST_GRACE), CLOSED.cStr());
}

// If it is well, it only has to find out who leads now. An orchd that was stopped for a second, or
// that is started again at once, is back by then.
void Sessions::expectFormerLeader(const std::string& nodeId, kj::Duration silent, bool closed) {
  auto node = manager.state().find(Kind::NODE, nodeId);
  if (stopped || node == nullptr || isDown(node->as<schema::Node>())) return;
  // It was demoted, and its orchd starts again as a worker's.
  if (!manager.state().isManager(nodeId)) return;
  auto limit = settings.getDownAfterMs() * kj::MILLISECONDS;
  auto left = limit - kj::min(silent, limit);
  beats.expect(nodeId, kj::max(left, limit * 3 / 5), closed ? CLOSED.cStr() : "");
}

}  // namespace orch::control::manager
