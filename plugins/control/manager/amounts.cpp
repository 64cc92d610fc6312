#include "amounts.h"

namespace orch::control::manager {

std::string asDuration(uint64_t milliseconds) {
  struct Unit {
    uint64_t milliseconds;
    const char* name;
  };
  std::string text;
  for (auto unit : {Unit{3600'000, "h"}, Unit{60'000, "m"}, Unit{1000, "s"}, Unit{1, "ms"}}) {
    uint64_t count = milliseconds / unit.milliseconds;
    if (count > 0) text += std::to_string(count) + unit.name;
    milliseconds %= unit.milliseconds;
  }
  return text.empty() ? "0s" : text;
}

std::string asSize(uint64_t bytes) {
  for (auto [shift, unit] : {std::pair(30, 'g'), std::pair(20, 'm'), std::pair(10, 'k')}) {
    if (bytes != 0 && bytes % (1ull << shift) == 0) return std::to_string(bytes >> shift) + unit;
  }
  return std::to_string(bytes) + " bytes";
}

std::string asCores(uint64_t nanos) {
  constexpr uint64_t CORE = 1'000'000'000;
  auto text = std::to_string(nanos / CORE);
  if (nanos % CORE == 0) return text;
  auto fraction = std::to_string(CORE + nanos % CORE).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return text + "." + fraction;
}

// https://www.unicode.org/versions/Unicode15.0.0/ch03.pdf, table 3-7
bool isUtf8(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t at = 0; at < text.size();) {
    unsigned char first = byte(at);
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    if (length == 0 || at + length > text.size()) return false;
    for (size_t i = 1; i < length; ++i) {
      if ((byte(at + i) & 0xc0) != 0x80) return false;
    }
    unsigned char second = length > 2 ? byte(at + 1) : 0;
    if (first == 0xe0 && second < 0xa0) return false;
    if (first == 0xed && second > 0x9f) return false;  // surrogates
    if (first == 0xf0 && second < 0x90) return false;
    if (first == 0xf4 && second > 0x8f) return false;
    at += length;
  }
  return true;
}

}  // namespace orch::control::manager
