// What the plugins should have of a task that runs.
#include "orch/fail.h"
#include "task-controller.h"

namespace orch::control::agent {

std::vector<TaskController::Lack> TaskController::lacksOf(const Holders& holders,
                                                          const std::string& only,
                                                          uint32_t& things) {
  std::vector<Lack> lacks;
  if (task->state() != schema::TaskState::RUNNING || stopping() || !bridged()) return lacks;
  std::string id = task->id().cStr();
  auto look = [&](const std::string& plugin, const std::string& network) {
    auto held = holders.find(plugin);
    if (held == holders.end()) return;
    ++things;
    if (held->second.count({network, id}) == 0) lacks.push_back({plugin, network});
  };
  std::string own = networkName().cStr();
  if (only.empty() || only == own) look("network." + own, own);
  for (auto leg : task->task().asReader().getLegs()) {
    std::string network = leg.getNetwork().cStr();
    if (only.empty() || only == network) look(LEGS.cStr(), network);
  }
  if (only.empty() && active) look(PORTS.cStr(), "");
  return lacks;
}

kj::Promise<void> TaskController::reconnect(std::vector<Lack> lacks) {
  return mending.wrap(reconnectNow(kj::mv(lacks)).promise());
}

Task<void> TaskController::reconnectNow(std::vector<Lack> lacks) {
  for (auto& lack : lacks) {
    if (isLocalDriver(lack.plugin.c_str())) {
      fail(kj::str(lack.plugin.c_str(), " does not know the task any more"));
    }
  }
  auto attached = co_await attachNetwork();
  KJ_IF_MAYBE (there, attached) co_await plugLegs(there->getEndpoint());
  if (!active) co_return;
  active = false;
  co_await leadPorts();
}

}  // namespace orch::control::agent
