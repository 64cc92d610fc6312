#include "session/order-gate.h"

#include <utility>

namespace orch::control::manager {

void OrderGate::hold(const std::string& nodeId, const std::string& taskId) {
  if (held.insert(taskId).second) arriving.push_back({nodeId, taskId});
}

std::vector<OrderGate::Order> OrderGate::shut(Messages awaited, kj::TimePoint until) {
  waves.push_back({std::exchange(arriving, {}), std::move(awaited), until});
  return release([](Wave& wave) { return wave.awaited.empty(); });
}

bool OrderGate::awaits(const std::string& nodeId) const {
  for (auto& wave : waves) {
    if (wave.awaited.count(nodeId) > 0) return true;
  }
  return false;
}

std::vector<OrderGate::Order> OrderGate::inForce(const std::string& nodeId, uint64_t message) {
  return release([&](Wave& wave) {
    auto found = wave.awaited.find(nodeId);
    if (found != wave.awaited.end() && found->second <= message) wave.awaited.erase(found);
    return wave.awaited.empty();
  });
}

std::vector<OrderGate::Order> OrderGate::forget(const std::string& nodeId) {
  return release([&](Wave& wave) {
    wave.awaited.erase(nodeId);
    return wave.awaited.empty();
  });
}

std::vector<OrderGate::Order> OrderGate::expire(kj::TimePoint now, std::set<std::string>& late) {
  return release([&](Wave& wave) {
    if (wave.until > now) return false;
    for (auto& entry : wave.awaited) late.insert(entry.first);
    return true;
  });
}

void OrderGate::clear() {
  arriving.clear();
  held.clear();
  waves.clear();
}

template <typename Over>
std::vector<OrderGate::Order> OrderGate::release(Over&& isOver) {
  std::vector<Order> released;
  for (auto wave = waves.begin(); wave != waves.end();) {
    if (!isOver(*wave)) {
      ++wave;
      continue;
    }
    for (auto& order : wave->orders) {
      held.erase(order.taskId);
      released.push_back(std::move(order));
    }
    wave = waves.erase(wave);
  }
  return released;
}

}  // namespace orch::control::manager
