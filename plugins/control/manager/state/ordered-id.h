// Ids as keys of a map in their order. A map of a million ids is gone down in twenty steps, and to
// look at a text is to wait for memory twice; its first letters lie in the node itself, and nearly
// always tell two ids apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace orch::control::manager {

class OrderedId final : public std::string {
 public:
  explicit OrderedId(std::string id) : std::string(std::move(id)), head(headOf(*this)) {}

  // As texts are compared, byte by byte.
  struct Less {
    using is_transparent = void;
    bool operator()(const OrderedId& a, const OrderedId& b) const {
      return isLess(a.head, a, b.head, b);
    }
    bool operator()(const OrderedId& a, std::string_view b) const {
      return isLess(a.head, a, headOf(b), b);
    }
    bool operator()(std::string_view a, const OrderedId& b) const {
      return isLess(headOf(a), a, b.head, b);
    }
  };

 private:
  // Zeros stand behind one that is shorter.
  static uint64_t headOf(std::string_view id) {
    uint64_t head = 0;
    for (size_t i = 0; i < sizeof head; ++i) {
      head = head << 8 | (i < id.size() ? static_cast<unsigned char>(id[i]) : 0);
    }
    return head;
  }
  static bool isLess(uint64_t headOfA, std::string_view a, uint64_t headOfB, std::string_view b) {
    return headOfA != headOfB ? headOfA < headOfB : a < b;
  }

  uint64_t head;
};

}  // namespace orch::control::manager
