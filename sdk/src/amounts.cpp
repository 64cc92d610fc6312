#include "orch/amounts.h"

#include <charconv>
#include <cmath>
#include <string>

namespace orch {

namespace {

constexpr double MOST = 0x1p63;  // the first that is too much for an int64
constexpr uint64_t CORE = 1'000'000'000;

struct Unit {
  std::string_view name;
  int64_t amount;
};
// Longer names before those they begin with, larger units before smaller ones.
constexpr Unit NANOSECONDS[] = {{"h", 3600'000'000'000},
                                {"ms", 1'000'000},
                                {"m", 60'000'000'000},
                                {"s", 1000'000'000},
                                {"us", 1'000},
                                {"µs", 1'000},
                                {"ns", 1}};
constexpr Unit MILLISECONDS[] = {{"h", 3600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}};
constexpr std::string_view POWERS = "bkmgtp";  // of 1024

bool take(std::string_view& text, std::string_view beginning) {
  bool there = text.substr(0, beginning.size()) == beginning;
  if (there) text.remove_prefix(beginning.size());
  return there;
}

// An ASCII letter, or its capital.
bool takeLetter(std::string_view& text, char letter) {
  bool there = !text.empty() && (text[0] | 0x20) == letter;
  if (there) text.remove_prefix(1);
  return there;
}

}  // namespace

std::optional<uint64_t> readDigits(std::string_view text) {
  uint64_t number;
  auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  bool all = result.ec == std::errc() && result.ptr == text.data() + text.size();
  return all ? std::optional(number) : std::nullopt;
}

std::optional<double> takeDecimal(std::string_view& text) {
  auto number = text.substr(0, text.find_first_not_of("0123456789."));
  double value;
  auto end = number.data() + number.size();
  auto result = std::from_chars(number.data(), end, value, std::chars_format::fixed);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  text.remove_prefix(number.size());
  return value;
}

std::optional<int64_t> parseDurationNs(std::string_view text) {
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    auto number = takeDecimal(text);
    if (!number) return std::nullopt;
    const Unit* found = nullptr;
    for (auto& unit : NANOSECONDS) {
      if (found == nullptr && take(text, unit.name)) found = &unit;
    }
    if (found == nullptr) return std::nullopt;
    total += *number * static_cast<double>(found->amount);
  }
  return total < MOST ? std::optional(std::llround(total)) : std::nullopt;
}

std::optional<uint64_t> parseDurationMs(std::string_view text) {
  constexpr int64_t MS = 1'000'000;
  auto ns = parseDurationNs(text);
  if (!ns || (*ns > 0 && *ns < MS)) return std::nullopt;
  return static_cast<uint64_t>(*ns / MS + (*ns % MS >= MS / 2));
}

std::optional<uint64_t> parseSizeBytes(std::string_view text) {
  auto whole = readDigits(text);  // a double does not hold each of them
  if (whole) return *whole <= INT64_MAX ? whole : std::nullopt;
  auto number = takeDecimal(text);
  if (!number) return std::nullopt;
  take(text, " ");
  int power = 0;
  for (size_t i = 0; i < POWERS.size(); ++i) {
    if (!takeLetter(text, POWERS[i])) continue;
    power = static_cast<int>(i);
    break;
  }
  if (power > 0) {
    takeLetter(text, 'i');
    takeLetter(text, 'b');
  }
  double bytes = std::ldexp(*number, 10 * power);
  bool good = text.empty() && bytes < MOST;
  return good ? std::optional(static_cast<uint64_t>(bytes)) : std::nullopt;
}

std::optional<uint64_t> parseCpuNanos(std::string_view text) {
  constexpr size_t PLACES = 9;
  auto point = text.find('.');
  std::string before(text.substr(0, point));
  std::string after(point == std::string_view::npos ? "" : text.substr(point + 1));
  if ((before.empty() && after.empty()) || after.size() > PLACES) return std::nullopt;
  after.resize(PLACES, '0');
  auto cores = readDigits(before.empty() ? "0" : before);
  auto nanos = readDigits(after);
  if (!cores || *cores > 1'000'000 || !nanos) return std::nullopt;
  return *cores * CORE + *nanos;
}

kj::String durationText(uint64_t milliseconds) {
  std::string text;
  for (auto& unit : MILLISECONDS) {
    auto amount = static_cast<uint64_t>(unit.amount);
    auto count = milliseconds / amount;
    if (count > 0) text += std::to_string(count).append(unit.name);
    milliseconds %= amount;
  }
  return kj::str(text.empty() ? "0s" : text.c_str());
}

kj::String sizeText(uint64_t bytes) {
  size_t power = 0;
  while (bytes > 0 && bytes % 1024 == 0 && power < 3) {
    bytes /= 1024;
    ++power;
  }
  return kj::str(bytes, POWERS[power]);
}

kj::String coresText(uint64_t nanos) {
  if (nanos % CORE == 0) return kj::str(nanos / CORE);
  auto fraction = std::to_string(CORE + nanos % CORE).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return kj::str(nanos / CORE, ".", fraction.c_str());
}

}  // namespace orch
