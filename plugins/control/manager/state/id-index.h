// Finds an entry of a map by its id without going down the tree: a table of pointers, open
// addressing with linear probing, at most two thirds full. It owns nothing; the map says what there
// is, and in which order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orch::control::manager {

template <typename Value>
class IdIndex final {
 public:
  using Entry = std::pair<const std::string, Value>;

  // Null if there is none.
  Entry* find(std::string_view id) const {
    if (places.empty()) return nullptr;
    for (size_t at = home(id);; at = after(at)) {
      if (places[at] == nullptr || places[at]->first == id) return places[at];
    }
  }
  // Of an id that is not there. The entry must stay where it is until it is removed.
  void add(Entry& entry) {
    if (++count * 3 > places.size() * 2) grow();
    put(entry);
  }
  // Of an id that is there.
  void remove(std::string_view id) {
    size_t hole = home(id);
    while (places[hole]->first != id) hole = after(hole);
    // What lies behind it moves up, as long as that is no further than its home.
    for (size_t at = after(hole); places[at] != nullptr; at = after(at)) {
      size_t mask = places.size() - 1;
      bool mayMove = ((at - home(places[at]->first)) & mask) >= ((at - hole) & mask);
      if (!mayMove) continue;
      places[hole] = places[at];
      hole = at;
    }
    places[hole] = nullptr;
    --count;
  }

 private:
  static constexpr size_t FIRST_PLACES = 16;  // a power of two, as all sizes are

  size_t home(std::string_view id) const {
    return std::hash<std::string_view>()(id) & (places.size() - 1);
  }
  size_t after(size_t at) const { return (at + 1) & (places.size() - 1); }
  void put(Entry& entry) {
    size_t at = home(entry.first);
    while (places[at] != nullptr) at = after(at);
    places[at] = &entry;
  }
  void grow() {
    auto before = std::exchange(places, {});
    places.resize(before.empty() ? FIRST_PLACES : before.size() * 2, nullptr);
    for (auto entry : before) {
      if (entry != nullptr) put(*entry);
    }
  }

  std::vector<Entry*> places;
  size_t count = 0;
};

}  // namespace orch::control::manager
