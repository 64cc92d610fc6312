// A set of small numbers, most of which are in it: a bit each.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace orch::control::manager {

class NumberSet final {
 public:
  void insert(uint32_t number) {
    if (number / BITS >= words.size()) words.resize(number / BITS + 1, 0);
    words[number / BITS] |= bit(number);
  }
  void erase(uint32_t number) {
    if (number / BITS >= words.size()) return;
    words[number / BITS] &= ~bit(number);
    while (!words.empty() && words.back() == 0) words.pop_back();
  }
  bool has(uint32_t number) const {
    return number / BITS < words.size() && (words[number / BITS] & bit(number)) != 0;
  }
  // The first from `number` on that is not in it.
  uint32_t firstWithout(uint32_t number) const {
    for (; number / BITS < words.size(); number = (number / BITS + 1) * BITS) {
      uint32_t offset = number % BITS;
      uint32_t run = std::countr_one(words[number / BITS] >> offset);
      if (offset + run < BITS) return number + run;
    }
    return number;
  }

 private:
  static constexpr uint32_t BITS = 64;
  static uint64_t bit(uint32_t number) { return uint64_t(1) << number % BITS; }
  std::vector<uint64_t> words;
};

}  // namespace orch::control::manager
