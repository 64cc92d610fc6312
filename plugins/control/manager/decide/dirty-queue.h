// What has to be looked at, and when: one queue for everything that decides. First come, first
// served; whoever is asked for again keeps the earlier time. Runs on the loop's thread.
#pragma once

#include <cstdint>
#include <map>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

namespace orch::control::manager {

// One reconciler each; see reconcile.cpp.
enum class Concern : uint8_t {
  NODE,       // by id: whether it is down, and since when
  REQUESTS,   // those that may be forgotten
  SERVICE,    // by id: its restarts, slots, update and history
  PLACEMENT,  // by id: its tasks that found no node; without: of all services
  REBALANCE,  // whether tasks should be moved
};

struct DirtyKey {
  Concern concern;
  std::string id;
  auto operator<=>(const DirtyKey&) const = default;
};

class DirtyQueue final {
 public:
  // Never, with NEVER_NS.
  void add(DirtyKey key, int64_t atNs);
  // The first that is due is taken out.
  bool take(int64_t nowNs, DirtyKey& key);
  // When the first is due; NEVER_NS if there is none.
  int64_t nextNs();
  void clear();

 private:
  struct Entry {
    int64_t atNs;
    uint64_t sequence;
    DirtyKey key;
    bool operator>(const Entry& other) const {
      return std::tie(atNs, sequence) > std::tie(other.atNs, other.sequence);
    }
  };

  // Where a key has several entries, the one of this time counts.
  std::map<DirtyKey, int64_t> times;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> heap;
  uint64_t sequence = 0;
};

}  // namespace orch::control::manager
