#include "lib/turns.h"

namespace orch::network {

kj::Promise<Turns::Turn> Turns::take(const std::string& name) {
  auto [queue, first] = waiting.try_emplace(name);
  if (first) return Turn(*this, name);
  auto pair = kj::newPromiseAndFulfiller<Turn>();
  queue->second.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void Turns::next(const std::string& name) {
  auto queue = waiting.find(name);
  while (!queue->second.empty()) {
    auto fulfiller = kj::mv(queue->second.front());
    queue->second.pop_front();
    if (!fulfiller->isWaiting()) continue;  // cancelled
    fulfiller->fulfill(Turn(*this, name));
    return;
  }
  waiting.erase(queue);
}

}  // namespace orch::network
