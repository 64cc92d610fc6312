// When a job runs anew, as cron says it: five fields for minute, hour, day of the month, month and
// day of the week, each `*`, a number, a name of a month or day, a range `a-b`, with `/n` each n-th
// of those, or a list of such with commas. A `7` is Sunday as `0` is. Where neither of both days
// begins with `*`, one of them is enough, as in crontab(5). `@hourly`, `@daily`, `@midnight`,
// `@weekly`, `@monthly`, `@yearly` and `@annually` stand for such fields. In UTC. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::control::manager {

class Cron final {
 public:
  static constexpr size_t MAX_LENGTH = 256;

  // Fails with `usage: …` that names the column of what is wrong, and for days that never come.
  static Cron parse(std::string_view text);

  // The first such minute after `afterNs`.
  int64_t nextNs(int64_t afterNs) const;

 private:
  friend class CronParser;
  Cron() = default;
  bool isDay(int64_t daysSince1970) const;

  // A bit for each value.
  uint64_t minutes = 0;
  uint64_t hours = 0;
  uint64_t monthDays = 0;
  uint64_t months = 0;
  uint64_t weekDays = 0;
  bool eitherDay = false;
};

// `2026-11-30 03:00 UTC`
std::string minuteText(int64_t ns);

}  // namespace orch::control::manager
