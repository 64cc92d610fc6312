// Finds an entry of a map by its id without going down the tree: a table of pointers, each with the
// hash of its id so that others are passed over and moved without a look at them; open addressing
// with linear probing, at most two thirds full. It owns nothing; the map says what there is, and in
// which order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace orch::control::manager {

template <typename Entry>  // a pair whose first is the id
class IdIndex final {
 public:
  // Null if there is none.
  Entry* find(std::string_view id) const {
    if (places.empty()) return nullptr;
    auto hash = hashOf(id);
    for (size_t at = home(hash);; at = after(at)) {
      auto& place = places[at];
      if (place.entry == nullptr) return nullptr;
      if (place.hash == hash && place.entry->first == id) return place.entry;
    }
  }
  // Of an id that is not there. The entry must stay where it is until it is removed.
  void add(Entry& entry) {
    if (++count * 3 > places.size() * 2) grow();
    put({&entry, hashOf(entry.first)});
  }
  // Of an id that is there.
  void remove(std::string_view id) {
    size_t hole = home(hashOf(id));
    while (places[hole].entry->first != id) hole = after(hole);
    // What lies behind it moves up, as long as that is no further than its home.
    for (size_t at = after(hole); places[at].entry != nullptr; at = after(at)) {
      size_t mask = places.size() - 1;
      bool mayMove = ((at - home(places[at].hash)) & mask) >= ((at - hole) & mask);
      if (!mayMove) continue;
      places[hole] = places[at];
      hole = at;
    }
    places[hole] = {};
    --count;
  }

 private:
  struct Place {
    Entry* entry = nullptr;  // null: it is free
    size_t hash = 0;
  };
  static constexpr size_t FIRST_PLACES = 16;  // a power of two, as all sizes are

  static size_t hashOf(std::string_view id) { return std::hash<std::string_view>()(id); }
  size_t home(size_t hash) const { return hash & (places.size() - 1); }
  size_t after(size_t at) const { return (at + 1) & (places.size() - 1); }
  void put(const Place& place) {
    size_t at = home(place.hash);
    while (places[at].entry != nullptr) at = after(at);
    places[at] = place;
  }
  void grow() {
    auto before = std::exchange(places, {});
    places.resize(before.empty() ? FIRST_PLACES : before.size() * 2);
    for (auto& place : before) {
      if (place.entry != nullptr) put(place);
    }
  }

  std::vector<Place> places;
  size_t count = 0;
};

}  // namespace orch::control::manager
