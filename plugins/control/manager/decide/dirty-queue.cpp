#include "decide/dirty-queue.h"

namespace orch::control::manager {

void DirtyQueue::add(DirtyKey key, int64_t atNs) {
  if (atNs == INT64_MAX) return;
  auto inserted = times.try_emplace(key, atNs);
  auto& known = inserted.first->second;
  if (!inserted.second && known <= atNs) return;
  known = atNs;
  heap.push(Entry{atNs, ++sequence, std::move(key)});
}

bool DirtyQueue::take(int64_t nowNs, DirtyKey& key) {
  if (nextNs() > nowNs) return false;
  key = heap.top().key;
  heap.pop();
  times.erase(key);
  return true;
}

int64_t DirtyQueue::nextNs() {
  while (!heap.empty()) {
    auto& first = heap.top();
    auto it = times.find(first.key);
    if (it != times.end() && it->second == first.atNs) return first.atNs;
    heap.pop();  // it was taken, or is asked for earlier
  }
  return INT64_MAX;
}

void DirtyQueue::clear() {
  times.clear();
  heap = {};
}

}  // namespace orch::control::manager
