#include "value.h"

#include <kj/vector.h>
#include <time.h>

#include <charconv>
#include <cmath>

#include "orch/amounts.h"
#include "orch/fail.h"

namespace orch::cli {

void badValue(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr expected) {
  fail(kj::str("usage: invalid value '", value, "' for ", flag, ": expected ", expected));
}

uint64_t parseDurationMs(kj::StringPtr flag, kj::StringPtr value, uint64_t mostMs) {
  auto ms = orch::parseDurationMs(view(value));
  if (!ms) badValue(flag, value, "a duration such as 10s, 1m30s or 100ms; 0, or at least 1ms");
  if (*ms > mostMs) badValue(flag, value, kj::str("a duration of at most ", durationText(mostMs)));
  return *ms;
}

uint64_t parseExpiryMs(kj::StringPtr flag, kj::StringPtr value) {
  auto expiryMs = parseDurationMs(flag, value, 5 * MAX_DURATION_MS);
  if (expiryMs == 0) badValue(flag, value, "1h to 43800h");
  return expiryMs;
}

uint64_t parseSizeBytes(kj::StringPtr flag, kj::StringPtr value) {
  auto bytes = orch::parseSizeBytes(view(value));
  if (!bytes) badValue(flag, value, "a size such as 64m, 1g, 512k, or a number of bytes");
  return *bytes;
}

uint64_t parseCpuNanos(kj::StringPtr flag, kj::StringPtr value) {
  auto nanos = orch::parseCpuNanos(view(value));
  if (!nanos || (*nanos > 0 && *nanos < 1'000'000)) {
    badValue(flag, value,
             "a number of cores such as 0.5 or 2, 0 or at least 0.001, to the ninth place");
  }
  return *nanos;
}

uint64_t parseWhole(kj::StringPtr flag, kj::StringPtr value, uint64_t least, uint64_t most) {
  auto number = readDigits(view(value));
  if (!number || *number < least || *number > most) {
    badValue(flag, value, kj::str("a whole number from ", least, " to ", most));
  }
  return *number;
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
  auto ratio = takeDecimal(text);
  if (!ratio || !text.empty() || *ratio > 1) badValue(flag, value, "a number from 0 to 1");
  return static_cast<float>(*ratio);
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
  auto ago = parseDurationNs(text);
  if (ago && *ago > 0) return nowNs - *ago;
  std::string_view number = text;
  auto seconds = takeDecimal(number);
  if (seconds && number.empty() && *seconds < LATEST_S) {
    double whole = std::floor(*seconds);
    return static_cast<int64_t>(whole) * 1'000'000'000 +
           static_cast<int64_t>((*seconds - whole) * 1e9);
  }
  struct tm parts = {};
  const char* rest = strptime(value.cStr(), "%Y-%m-%d", &parts);
  double fraction = 0;
  int offsetMinutes = 0;
  if (rest != nullptr && *rest == 'T') {
    rest = strptime(rest + 1, "%H:%M:%S", &parts);
    if (rest != nullptr && *rest == '.') {
      std::string_view digits = rest;
      fraction = takeDecimal(digits).value_or(0);
      rest = digits.data();
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
