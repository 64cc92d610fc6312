#include "decide/cron.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <span>

#include "orch/fail.h"

namespace orch::control::manager {

namespace {
using Days = std::chrono::days;

constexpr int64_t NS_PER_MINUTE = 60'000'000'000;
constexpr int64_t MINUTES_PER_DAY = 24 * 60;
// The 29th of February on a day of the week comes once in 28 years, and 12 years later where a
// century has no leap day in between.
constexpr int64_t MOST_DAYS = 366 * 41;

constexpr std::string_view MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                       "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view WEEK_DAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  std::string_view name;
  uint32_t least;
  uint32_t most;
  std::span<const std::string_view> names;  // the first is `least`
};
constexpr Field FIELDS[] = {{"minute", 0, 59, {}},
                            {"hour", 0, 23, {}},
                            {"day of the month", 1, 31, {}},
                            {"month", 1, 12, MONTHS},
                            {"day of the week", 0, 7, WEEK_DAYS}};

struct Short {
  std::string_view name;
  std::string_view fields;
};
constexpr Short SHORTS[] = {{"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},
                            {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
                            {"@monthly", "0 0 1 * *"},  {"@yearly", "0 0 1 1 *"},
                            {"@annually", "0 0 1 1 *"}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isLetter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool isSpace(char c) { return c == ' ' || c == '\t'; }
}  // namespace

class CronParser final {
 public:
  explicit CronParser(std::string_view text) : text(text) {}

  Cron parse() {
    if (text.size() > Cron::MAX_LENGTH) {
      fail(kj::str("usage: --schedule has at most ", Cron::MAX_LENGTH, " characters, not ",
                   text.size()));
    }
    skipSpaces();
    Cron cron;
    if (!atEnd() && text[at] == '@') {
      cron = CronParser(shortFor()).fields();
    } else {
      cron = fields();
    }
    bool comes = false;
    for (int64_t day = 0; day < MOST_DAYS && !comes; ++day) comes = cron.isDay(day);
    if (!comes) fail(kj::str("usage: --schedule '", written(), "': such a day never comes"));
    return cron;
  }

 private:
  [[noreturn]] void refuse(size_t column, kj::StringPtr why) {
    fail(kj::str("usage: --schedule '", written(), "': ", why, " at column ", column + 1));
    __builtin_unreachable();
  }
  kj::String written() const { return kj::heapString(text.data(), text.size()); }
  bool atEnd() const { return at == text.size(); }
  void skipSpaces() {
    while (!atEnd() && isSpace(text[at])) ++at;
  }
  bool take(char c) {
    bool is = !atEnd() && text[at] == c;
    at += is;
    return is;
  }

  std::string_view shortFor() {
    size_t begin = at;
    while (!atEnd() && !isSpace(text[at])) ++at;
    auto word = text.substr(begin, at - begin);
    skipSpaces();
    for (auto& one : SHORTS) {
      if (one.name != word) continue;
      if (!atEnd())
        refuse(at, kj::str("nothing can follow ", kj::heapString(word.data(), word.size())));
      return one.fields;
    }
    refuse(begin,
           "expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or five "
           "fields");
  }

  Cron fields() {
    Cron cron;
    uint64_t* sets[] = {&cron.minutes, &cron.hours, &cron.monthDays, &cron.months, &cron.weekDays};
    bool begins[5] = {};
    for (int i = 0; i < 5; ++i) {
      skipSpaces();
      begins[i] = !atEnd() && text[at] == '*';
      *sets[i] = field(FIELDS[i]);
    }
    skipSpaces();
    if (!atEnd()) refuse(at, "there are five fields, and more");
    if ((cron.weekDays & 1 << 7) != 0) cron.weekDays |= 1;
    cron.eitherDay = !begins[2] && !begins[4];
    return cron;
  }

  uint64_t field(const Field& field) {
    if (atEnd()) refuse(at, kj::str("the ", nameOf(field), " is missing"));
    uint64_t set = 0;
    do set |= item(field);
    while (take(','));
    if (!atEnd() && !isSpace(text[at])) {
      refuse(at, kj::str("expected ',' or a space after the ", nameOf(field)));
    }
    return set;
  }

  // `*`, `a`, `a-b`, and with `/n` after it.
  uint64_t item(const Field& field) {
    uint32_t from = field.least;
    uint32_t to = field.most;
    size_t begin = at;
    bool all = take('*');
    bool range = all;
    if (!all) {
      from = to = value(field);
      range = take('-');
      if (range) to = value(field);
      if (range && to == 0 && field.most == 7) to = 7;  // `fri-sun`
      if (from > to) {
        refuse(begin, kj::str("the range of the ", nameOf(field), " ends before it begins"));
      }
    }
    uint32_t step = 1;
    if (take('/')) {
      size_t column = at;
      step = number(field, column);
      if (step == 0) refuse(column, "a step is at least 1");
      if (!range) to = field.most;
    }
    uint64_t set = 0;
    for (uint32_t i = from; i <= to; i += step) set |= uint64_t(1) << i;
    return set;
  }

  uint32_t value(const Field& field) {
    size_t begin = at;
    while (!atEnd() && isLetter(text[at])) ++at;
    if (at > begin) {
      auto word = text.substr(begin, at - begin);
      for (size_t i = 0; i < field.names.size(); ++i) {
        bool same = std::equal(word.begin(), word.end(), field.names[i].begin(),
                               field.names[i].end(), [](char a, char b) { return lower(a) == b; });
        if (same) return field.least + static_cast<uint32_t>(i);
      }
      refuse(begin, expected(field));
    }
    uint32_t result = number(field, begin);
    if (result < field.least || result > field.most) refuse(begin, expected(field));
    return result;
  }

  uint32_t number(const Field& field, size_t begin) {
    uint32_t result = 0;
    while (!atEnd() && isDigit(text[at])) {
      result = std::min<uint32_t>(result * 10 + static_cast<uint32_t>(text[at++] - '0'), 10'000);
    }
    if (at == begin) refuse(begin, expected(field));
    return result;
  }

  static kj::String nameOf(const Field& field) {
    return kj::heapString(field.name.data(), field.name.size());
  }
  static kj::String expected(const Field& field) {
    auto names = kj::String();
    if (!field.names.empty()) {
      auto first = field.names.front(), last = field.names.back();
      names = kj::str(", or ", kj::heapString(first.data(), first.size()), " to ",
                      kj::heapString(last.data(), last.size()));
    }
    return kj::str("the ", nameOf(field), " is ", field.least, " to ", field.most, names);
  }

  std::string_view text;
  size_t at = 0;
};

Cron Cron::parse(std::string_view text) { return CronParser(text).parse(); }

bool Cron::isDay(int64_t daysSince1970) const {
  std::chrono::sys_days day{Days(daysSince1970)};
  std::chrono::year_month_day date(day);
  auto has = [](uint64_t set, unsigned value) { return (set >> value & 1) != 0; };
  if (!has(months, unsigned(date.month()))) return false;
  bool inMonth = has(monthDays, unsigned(date.day()));
  bool inWeek = has(weekDays, std::chrono::weekday(day).c_encoding());
  return eitherDay ? inMonth || inWeek : inMonth && inWeek;
}

int64_t Cron::nextNs(int64_t afterNs) const {
  int64_t minute = afterNs / NS_PER_MINUTE + 1;
  for (int64_t day = minute / MINUTES_PER_DAY, last = day + MOST_DAYS; day < last; ++day) {
    if (!isDay(day)) continue;
    for (int64_t of = std::max(minute, day * MINUTES_PER_DAY); of < (day + 1) * MINUTES_PER_DAY;
         ++of) {
      int64_t inDay = of % MINUTES_PER_DAY;
      if ((hours >> (inDay / 60) & 1) != 0 && (minutes >> (inDay % 60) & 1) != 0) {
        return of * NS_PER_MINUTE;
      }
    }
  }
  return INT64_MAX;  // after the last day that a time can name
}

std::string minuteText(int64_t ns) {
  time_t seconds = ns / 1'000'000'000;
  std::tm parts{};
  char text[64];
  gmtime_r(&seconds, &parts);
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

}  // namespace orch::control::manager
