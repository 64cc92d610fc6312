// Where the managers are, as agents are told it: with each session, and when there are others.
#include "session/connection.h"

namespace orch::control::manager {

// Where else it may look for the leader.
void Sessions::tellManagers(Connection& connection) {
  auto addresses = members.managerAddresses();
  if (addresses.size() < 2 || connection.over) return;
  auto request = connection.agent.managersRequest();
  auto list = request.initAddresses(addresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, addresses[i].c_str());
  // If it cannot keep them now, it is told with its next session.
  tasks.add(request.send().ignoreResult().catch_([](kj::Exception&&) {}));
}

void Sessions::tellAllManagers() {
  if (!std::exchange(managersChanged, false)) return;
  for (auto& entry : connections) tellManagers(*entry.second);
}

// One that manages from now on, or not any more, or at another address than before.
void Sessions::noteManager(const Snapshot& before, const Snapshot& after) {
  auto addressOf = [](const Snapshot& node) {
    bool manages = node && node.as<schema::Node>().getManages();
    return manages ? text(node.as<schema::Node>().getAddress()) : std::string();
  };
  managersChanged |= addressOf(before) != addressOf(after);
}

}  // namespace orch::control::manager
