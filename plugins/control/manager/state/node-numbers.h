// Nodes by small numbers, so that sets of them are bits, and what is known of them lies in arrays:
// each has one while it is there or has tasks, and whoever comes later may get it again. With it
// the order in which nodes changed: who keeps a picture of them asks for those since the last time,
// however many others there are who do.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "state/id-index.h"

namespace orch::control::manager {

// The newest change of each number, in order.
class ChangeOrder final {
 public:
  uint64_t newest() const { return stamps; }
  void touch(uint32_t number) {
    if (number >= links.size()) links.resize(number + 1);
    unlink(number);
    auto& link = links[number];
    link.stamp = ++stamps;
    link.newer = NONE;
    link.older = first;
    if (first != NONE) links[first].newer = number;
    first = number;
  }
  // Those that changed after `stamp`, the newest first. `use` must not touch any.
  template <typename F>
  void since(uint64_t stamp, F&& use) const {
    for (auto at = first; at != NONE && links[at].stamp > stamp; at = links[at].older) use(at);
  }

 private:
  static constexpr uint32_t NONE = UINT32_MAX;
  struct Link {
    uint64_t stamp = 0;  // 0: it is in no order yet
    uint32_t newer = NONE;
    uint32_t older = NONE;
  };
  void unlink(uint32_t number) {
    auto& link = links[number];
    if (link.stamp == 0) return;
    (link.newer == NONE ? first : links[link.newer].older) = link.older;
    if (link.older != NONE) links[link.older].newer = link.newer;
  }

  std::vector<Link> links;
  uint32_t first = NONE;  // the newest
  uint64_t stamps = 0;
};

class NodeNumbers final {
 public:
  static constexpr uint32_t NONE = UINT32_MAX;

  uint32_t of(std::string_view id) const {
    auto entry = byId.find(id);
    return entry == nullptr ? NONE : entry->second;
  }
  // Empty if it is nobody's.
  const std::string& idOf(uint32_t number) const {
    return number < ids.size() ? ids[number] : none;
  }
  // Above all that were given.
  uint32_t limit() const { return static_cast<uint32_t>(ids.size()); }
  // The one it has, if it has one.
  uint32_t add(const std::string& id) {
    auto known = byId.find(id);
    if (known != nullptr) return known->second;
    auto entry = numbers.try_emplace(id, 0).first;
    byId.add(*entry);
    if (free.empty()) {
      entry->second = limit();
      ids.push_back(id);
    } else {
      entry->second = free.back();
      free.pop_back();
      ids[entry->second] = id;
    }
    return entry->second;
  }
  void remove(uint32_t number) {
    auto id = std::exchange(ids[number], {});
    free.push_back(number);
    byId.remove(id);
    numbers.erase(id);
  }

 private:
  std::map<std::string, uint32_t> numbers;
  IdIndex<std::pair<const std::string, uint32_t>> byId;
  std::vector<std::string> ids;
  std::vector<uint32_t> free;
  std::string none;
};

}  // namespace orch::control::manager
