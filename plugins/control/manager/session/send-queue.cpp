// Who is sent what it has to know, and when.
#include <utility>

#include "session/connection.h"

namespace orch::control::manager {

namespace {
constexpr size_t SENT_PER_TURN = 8;
}  // namespace

void Sessions::push(Connection& connection) {
  if (connection.over || connection.inFlight || connection.queued || stopped) return;
  bool owes = connection.complete || !connection.changed.empty() || !connection.gone.empty() ||
              connection.networks.owes();
  if (!owes) return;
  connection.queued = true;
  sendQueue.push_back(kj::addRef(connection));
  if (!std::exchange(sending, true)) tasks.add(sendQueued());
}

void Sessions::tellAgain(std::string_view nodeId) {
  KJ_IF_MAYBE (connection, open(nodeId)) {
    connection->complete = true;
    push(*connection);
  }
}

// Some in each turn of the loop: encrypting for a thousand nodes at once would hold up everybody
// else. What changes for a node while it waits goes along.
Task<void> Sessions::sendQueued() {
  co_await kj::evalLater([] {});
  for (size_t sent = 1; !sendQueue.empty(); ++sent) {
    auto connection = kj::mv(sendQueue.front());
    sendQueue.pop_front();
    connection->queued = false;
    if (connection->over || stopped) continue;
    connection->inFlight = true;
    tasks.add(assign(kj::mv(connection)));
    if (sent % SENT_PER_TURN == 0) co_await env.timer().afterDelay(0 * kj::NANOSECONDS);
  }
  sending = false;
}

}  // namespace orch::control::manager
