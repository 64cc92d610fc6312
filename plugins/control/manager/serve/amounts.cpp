#include "serve/amounts.h"

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

}  // namespace orch::control::manager
