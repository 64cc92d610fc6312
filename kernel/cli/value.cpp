#include "value.h"

#include <kj/vector.h>
#include <time.h>

#include <charconv>
#include <cmath>

#include "orch/fail.h"

namespace orch::cli {

namespace {

struct Unit {
  std::string_view name;
  uint64_t nanoseconds;
};
// Longer names before those they begin with.
constexpr Unit UNITS[] = {
    {"ns", 1},           {"us", 1'000},         {"µs", 1'000},          {"ms", 1'000'000},
    {"s", 1000'000'000}, {"m", 60'000'000'000}, {"h", 3600'000'000'000}};

// A decimal number without sign or exponent at the beginning of `text`, which is cut off.
bool takeDecimal(std::string_view& text, double& out) {
  size_t n = 0;
  size_t points = 0;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || text[n] == '.')) {
    points += text[n] == '.';
    ++n;
  }
  if (n == points || points > 1) return false;
  auto result = std::from_chars(text.data(), text.data() + n, out, std::chars_format::fixed);
  if (result.ec != std::errc() || result.ptr != text.data() + n) return false;
  text.remove_prefix(n);
  return true;
}

// The duration in nanoseconds, below zero if it is none.
double durationNs(std::string_view text) {
  if (text == "0") return 0;
  if (text.empty()) return -1;
  double total = 0;
  while (!text.empty()) {
    double amount;
    if (!takeDecimal(text, amount)) return -1;
    const Unit* found = nullptr;
    for (const Unit& unit : UNITS) {
      if (text.substr(0, unit.name.size()) != unit.name) continue;
      if (unit.name == "m" && text.substr(0, 2) == "ms") continue;
      found = &unit;
      break;
    }
    if (found == nullptr) return -1;
    text.remove_prefix(found->name.size());
    total += amount * static_cast<double>(found->nanoseconds);
  }
  return total;
}

}  // namespace

void badValue(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr expected) {
  fail(kj::str("usage: invalid value '", value, "' for ", flag, ": expected ", expected));
}

bool readDigits(std::string_view text, uint64_t& out) {
  if (text.empty()) return false;
  auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

uint64_t parseDurationMs(kj::StringPtr flag, kj::StringPtr value, uint64_t mostMs) {
  double ms = durationNs(view(value)) / 1e6;
  if (ms < 0) badValue(flag, value, "a duration such as 10s, 1m30s or 100ms");
  if (ms > 0 && ms < 1) badValue(flag, value, "0, or at least 1ms");
  if (ms > static_cast<double>(mostMs)) {
    badValue(flag, value, kj::str("a duration of at most ", mostMs / 3600'000, "h"));
  }
  return static_cast<uint64_t>(std::llround(ms));
}

uint64_t parseSizeBytes(kj::StringPtr flag, kj::StringPtr value) {
  static constexpr kj::StringPtr EXPECTED = "a size such as 64m, 1g, 512k, or a number of bytes"_kj;
  std::string_view text = view(value);
  double amount;
  uint64_t whole;
  if (readDigits(text, whole)) {
    if (whole > (1ull << 62)) badValue(flag, value, "a size below 4 EiB");
    return whole;
  }
  if (!takeDecimal(text, amount)) badValue(flag, value, EXPECTED);
  if (!text.empty() && text[0] == ' ') text.remove_prefix(1);
  int power = 0;
  if (!text.empty()) {
    static constexpr std::string_view LETTERS = "bkmgtp";
    size_t at = LETTERS.find(static_cast<char>(text[0] | 0x20));
    if (at == std::string_view::npos) badValue(flag, value, EXPECTED);
    power = static_cast<int>(at);
    text.remove_prefix(1);
    if (power > 0 && !text.empty() && (text[0] | 0x20) == 'i') text.remove_prefix(1);
    if (power > 0 && !text.empty() && (text[0] | 0x20) == 'b') text.remove_prefix(1);
  }
  if (!text.empty()) badValue(flag, value, EXPECTED);
  double bytes = std::ldexp(amount, 10 * power);
  if (bytes > std::ldexp(1.0, 62)) badValue(flag, value, "a size below 4 EiB");
  return static_cast<uint64_t>(bytes);
}

uint64_t parseCpuNanos(kj::StringPtr flag, kj::StringPtr value) {
  static constexpr kj::StringPtr EXPECTED =
      "a number of cores such as 0.5 or 2, 0 or at least 0.001, to the ninth place"_kj;
  std::string_view text = view(value);
  auto point = text.find('.');
  std::string_view before = text.substr(0, point);
  std::string_view after = point == std::string_view::npos ? "" : text.substr(point + 1);
  uint64_t cores = 0;
  uint64_t nanos = 0;
  if (before.empty() && after.empty()) badValue(flag, value, EXPECTED);
  if (!before.empty() && !readDigits(before, cores)) badValue(flag, value, EXPECTED);
  if (!after.empty() && !readDigits(after, nanos)) badValue(flag, value, EXPECTED);
  if (after.size() > 9 || cores > 1'000'000) badValue(flag, value, EXPECTED);
  for (size_t i = after.size(); i < 9; ++i) nanos *= 10;
  uint64_t total = cores * 1'000'000'000 + nanos;
  if (total > 0 && total < 1'000'000) badValue(flag, value, EXPECTED);
  return total;
}

uint64_t parseWhole(kj::StringPtr flag, kj::StringPtr value, uint64_t least, uint64_t most) {
  uint64_t number;
  if (!readDigits(view(value), number) || number < least || number > most) {
    badValue(flag, value, kj::str("a whole number from ", least, " to ", most));
  }
  return number;
}

int64_t parseInteger(kj::StringPtr flag, kj::StringPtr value, int64_t least, int64_t most) {
  int64_t number;
  auto result = std::from_chars(value.begin(), value.end(), number);
  if (value.size() == 0 || result.ec != std::errc() || result.ptr != value.end() ||
      number < least || number > most) {
    badValue(flag, value, kj::str("a whole number from ", least, " to ", most));
  }
  return number;
}

float parseRatio(kj::StringPtr flag, kj::StringPtr value) {
  std::string_view text = view(value);
  double ratio;
  if (!takeDecimal(text, ratio) || !text.empty() || ratio > 1) {
    badValue(flag, value, "a number from 0 to 1");
  }
  return static_cast<float>(ratio);
}

bool parseBool(kj::StringPtr flag, kj::StringPtr value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  badValue(flag, value, "true or false");
}

kj::String parseWord(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr expected) {
  bool good = value.size() > 0;
  for (char c : value) good &= static_cast<unsigned char>(c) > ' ' && c != 0x7f;
  if (!good) badValue(flag, value, expected);
  return kj::str(value);
}

kj::String lowerCase(kj::StringPtr text) {
  auto lower = kj::str(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
}

unsigned parseChoice(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices) {
  std::string_view rest = view(choices);
  kj::Vector<kj::String> names;
  for (unsigned i = 0;; ++i) {
    auto bar = rest.find('|');
    auto name = rest.substr(0, bar);
    if (name == view(value)) return i;
    names.add(kj::heapString(name.data(), name.size()));
    if (bar == std::string_view::npos) break;
    rest.remove_prefix(bar + 1);
  }
  auto last = kj::mv(names.back());
  names.removeLast();
  badValue(flag, value,
           names.empty() ? kj::mv(last) : kj::str(kj::strArray(names, ", "), " or ", last));
}

int64_t parseMomentNs(kj::StringPtr flag, kj::StringPtr value, int64_t nowNs) {
  std::string_view text = view(value);
  static constexpr double LATEST_S = 9.2e9;  // nanoseconds of an Int64 end in 2262
  double ago = durationNs(text);
  if (ago > 0 && ago < LATEST_S * 1e9) return nowNs - static_cast<int64_t>(ago);
  std::string_view number = text;
  double seconds;
  if (takeDecimal(number, seconds) && number.empty() && seconds < LATEST_S) {
    double whole = std::floor(seconds);
    return static_cast<int64_t>(whole) * 1'000'000'000 +
           static_cast<int64_t>((seconds - whole) * 1e9);
  }
  struct tm parts = {};
  const char* rest = strptime(value.cStr(), "%Y-%m-%d", &parts);
  double fraction = 0;
  int offsetMinutes = 0;
  if (rest != nullptr && *rest == 'T') {
    rest = strptime(rest + 1, "%H:%M:%S", &parts);
    if (rest != nullptr && *rest == '.') {
      std::string_view digits = rest;
      if (takeDecimal(digits, fraction)) rest = digits.data();
    }
    if (rest != nullptr && *rest != '\0') {
      struct tm zone = {};
      rest = strptime(rest, "%z", &zone);
      offsetMinutes = static_cast<int>(zone.tm_gmtoff / 60);
    }
  }
  if (rest == nullptr || *rest != '\0') {
    badValue(flag, value,
             "a time such as 2026-08-03T12:00:00Z, seconds since 1970, or a duration such as 10m");
  }
  return (static_cast<int64_t>(timegm(&parts)) - offsetMinutes * 60) * 1'000'000'000 +
         static_cast<int64_t>(fraction * 1e9);
}

}  // namespace orch::cli
