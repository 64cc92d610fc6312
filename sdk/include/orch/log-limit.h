// How many lines strangers may cause in the log. Whoever refuses something asks before it tells.
#pragma once

#include <kj/time.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace orch {

// Plain state, for one loop.
class LogLimit final {
 public:
  // Lines of one kind: so many at once, then one per period. They are few enough for a disk and
  // many enough to see that something is going on.
  static constexpr uint32_t AT_ONCE = 5;
  static constexpr int64_t PERIOD_MS = 10'000;
  // Kinds that are told apart; those after them are one kind.
  static constexpr size_t MAX_KINDS = 64;

  explicit LogLimit(uint32_t atOnce = AT_ONCE) : atOnce(atOnce) {}

  // Whether a line of this kind may be written now: how many were not, since the last one that was.
  std::optional<uint64_t> admit(const std::string& kind, kj::TimePoint now) {
    int64_t nowMs = (now - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS;
    bool own = kinds.size() < MAX_KINDS || kinds.count(kind) > 0;
    auto [it, fresh] = kinds.try_emplace(own ? kind : std::string());
    auto& found = it->second;
    if (fresh) found = {atOnce, nowMs, 0};
    int64_t periods = (nowMs - found.atMs) / PERIOD_MS;
    found.left = static_cast<uint32_t>(std::min<int64_t>(atOnce, found.left + periods));
    found.atMs += periods * PERIOD_MS;
    if (found.left == 0) {
      ++found.untold;
      return std::nullopt;
    }
    --found.left;
    uint64_t untold = found.untold;
    found.untold = 0;
    return untold;
  }

 private:
  struct Kind {
    uint32_t left = 0;
    int64_t atMs = 0;
    uint64_t untold = 0;
  };
  uint32_t atOnce;
  std::map<std::string, Kind> kinds;
};

}  // namespace orch
