// When schedules come, and what is no schedule.
#include "decide/cron.h"

#include <catch2/catch.hpp>

#include <cstdio>
#include <ctime>
#include <string>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {
namespace {

// "2026-11-29 18:00", and with seconds.
int64_t momentNs(const char* text) {
  std::tm time{};
  int read = sscanf(text, "%d-%d-%d %d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                    &time.tm_hour, &time.tm_min, &time.tm_sec);
  REQUIRE(read >= 5);
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  return timegm(&time) * 1'000'000'000;
}
std::string momentText(int64_t ns) {
  time_t seconds = ns / 1'000'000'000;
  std::tm time{};
  gmtime_r(&seconds, &time);
  char text[64];
  strftime(text, sizeof text, "%a %F %R", &time);
  return text;
}

// The next `count` times after the 29th of November 2026, a Sunday.
std::string timesOf(const char* schedule, int count = 1, const char* after = "2026-11-29 18:07") {
  auto cron = Cron::parse(schedule);
  std::string times;
  int64_t atNs = momentNs(after);
  for (int i = 0; i < count; ++i) {
    atNs = cron.nextNs(atNs);
    times += (times.empty() ? "" : ", ") + momentText(atNs);
  }
  return times;
}

std::string refusalOf(std::string_view schedule) {
  auto outcome = attemptNow([&] { return Cron::parse(schedule); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

TEST_CASE("cron: the next times of a schedule", "[manager]") {
  struct Row {
    const char* schedule;
    const char* next;
    int count = 1;
  };
  const Row rows[] = {
      {"* * * * *", "Sun 2026-11-29 18:08, Sun 2026-11-29 18:09", 2},
      {"0 3 * * *", "Mon 2026-11-30 03:00, Tue 2026-12-01 03:00", 2},
      {"  0\t3  * * * ", "Mon 2026-11-30 03:00"},
      {"7 18 * * *", "Mon 2026-11-30 18:07"},
      {"8 18 * * *", "Sun 2026-11-29 18:08"},
      {"*/15 * * * *", "Sun 2026-11-29 18:15, Sun 2026-11-29 18:30", 2},
      {"5/20 * * * *", "Sun 2026-11-29 18:25, Sun 2026-11-29 18:45, Sun 2026-11-29 19:05", 3},
      {"10-20/5 22 * * *", "Sun 2026-11-29 22:10, Sun 2026-11-29 22:15, Sun 2026-11-29 22:20", 3},
      {"0,30 8-10 * * *", "Mon 2026-11-30 08:00, Mon 2026-11-30 08:30", 2},
      {"59 23 31 12 *", "Thu 2026-12-31 23:59, Fri 2027-12-31 23:59", 2},
      {"0 0 1 jan *", "Fri 2027-01-01 00:00"},
      {"0 0 1 JAN-Mar *", "Fri 2027-01-01 00:00, Mon 2027-02-01 00:00, Mon 2027-03-01 00:00", 3},
      {"0 9 * * mon-fri", "Mon 2026-11-30 09:00"},
      {"0 9 * * sat,sun", "Sat 2026-12-05 09:00, Sun 2026-12-06 09:00", 2},
      {"0 9 * * fri-sun", "Fri 2026-12-04 09:00, Sat 2026-12-05 09:00, Sun 2026-12-06 09:00", 3},
      {"0 9 * * 7", "Sun 2026-12-06 09:00"},
      {"0 9 * * 0", "Sun 2026-12-06 09:00"},
      {"0 9 * * */2", "Tue 2026-12-01 09:00, Thu 2026-12-03 09:00, Sat 2026-12-05 09:00", 3},
      // Either day is enough, unless one of them is any.
      {"0 0 13 * fri", "Fri 2026-12-04 00:00, Fri 2026-12-11 00:00, Sun 2026-12-13 00:00", 3},
      {"0 0 */2 * fri", "Fri 2026-12-11 00:00, Fri 2026-12-25 00:00", 2},
      {"0 0 29 2 *", "Tue 2028-02-29 00:00, Sun 2032-02-29 00:00", 2},
      {"0 0 29 2 */7", "Sun 2032-02-29 00:00, Sun 2060-02-29 00:00", 2},
      {"0 0 31 * *", "Thu 2026-12-31 00:00, Sun 2027-01-31 00:00, Wed 2027-03-31 00:00", 3},
      {"@hourly", "Sun 2026-11-29 19:00"},
      {" @daily ", "Mon 2026-11-30 00:00"},
      {"@midnight", "Mon 2026-11-30 00:00"},
      {"@weekly", "Sun 2026-12-06 00:00"},
      {"@monthly", "Tue 2026-12-01 00:00"},
      {"@yearly", "Fri 2027-01-01 00:00"},
      {"@annually", "Fri 2027-01-01 00:00"},
  };
  for (auto& row : rows) {
    INFO(row.schedule);
    CHECK(timesOf(row.schedule, row.count) == row.next);
  }
  CHECK(timesOf("0 3 * * *", 1, "2026-11-30 02:59:59") == "Mon 2026-11-30 03:00");
  CHECK(timesOf("0 3 * * *", 1, "2026-11-30 03:00:00") == "Tue 2026-12-01 03:00");
  CHECK(timesOf("0 0 29 2 *", 2, "2096-03-01 00:00") ==
        "Fri 2104-02-29 00:00, Wed 2108-02-29 00:00");
}

TEST_CASE("cron: what is no schedule is refused at its column", "[manager]") {
  struct Row {
    const char* schedule;
    const char* why;
  };
  const Row rows[] = {
      {"", "the minute is missing at column 1"},
      {"0 3 * *", "the day of the week is missing at column 8"},
      {"0 3 * * * root", "there are five fields, and more at column 11"},
      {"60 * * * *", "the minute is 0 to 59 at column 1"},
      {"* 24 * * *", "the hour is 0 to 23 at column 3"},
      {"* * 0 * *", "the day of the month is 1 to 31 at column 5"},
      {"* * * 13 *", "the month is 1 to 12, or jan to dec at column 7"},
      {"* * * janu *", "the month is 1 to 12, or jan to dec at column 7"},
      {"* * * * 8", "the day of the week is 0 to 7, or sun to sat at column 9"},
      {"* * * * mon-fry", "the day of the week is 0 to 7, or sun to sat at column 13"},
      {"1,,2 * * * *", "the minute is 0 to 59 at column 3"},
      {"1, * * * *", "the minute is 0 to 59 at column 3"},
      {"30-10 * * * *", "the range of the minute ends before it begins at column 1"},
      {"*/0 * * * *", "a step is at least 1 at column 3"},
      {"*/x * * * *", "the minute is 0 to 59 at column 3"},
      {"*5 * * * *", "expected ',' or a space after the minute at column 2"},
      {"1-2-3 * * * *", "expected ',' or a space after the minute at column 4"},
      {"-1 * * * *", "the minute is 0 to 59 at column 1"},
      {"jan * * * *", "the minute is 0 to 59 at column 1"},
      {"99999999999999999999 * * * *", "the minute is 0 to 59 at column 1"},
      {"@reboot",
       "expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or five fields "
       "at column 1"},
      {"@daily 3", "nothing can follow @daily at column 8"},
      {"0 0 30 2 *", "such a day never comes"},
      {"0 0 31 apr,jun,sep,nov *", "such a day never comes"},
  };
  for (auto& row : rows) {
    CHECK(refusalOf(row.schedule) ==
          "usage: --schedule '" + std::string(row.schedule) + "': " + row.why);
  }
  CHECK(refusalOf("0 0 30 2 mon") == "");  // the Mondays of February
  CHECK(refusalOf(std::string(300, '*')) ==
        "usage: --schedule has at most 256 characters, not 300");
}

}  // namespace
}  // namespace orch::control::manager
