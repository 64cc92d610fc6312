#include "language/time-layout.h"

#include <time.h>

#include <cstdio>

namespace orch::integration::templates {

namespace {

constexpr int64_t NS_PER_SECOND = 1'000'000'000;
constexpr const char* DAYS[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                "Thursday", "Friday", "Saturday"};
constexpr const char* MONTHS[] = {"January",   "February", "March",    "April",
                                  "May",       "June",     "July",     "August",
                                  "September", "October",  "November", "December"};

struct Moment {
  tm parts = {};
  int64_t fraction = 0;
};

std::string numbered(const char* format, int value) {
  char buffer[16];
  snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}
int hour12(const Moment& m) { return m.parts.tm_hour % 12 == 0 ? 12 : m.parts.tm_hour % 12; }

struct Part {
  std::string_view layout;
  std::string (*text)(const Moment& m);
};
// Longer ones before those that they begin with. UTC is what zones are.
constexpr Part PARTS[] = {
    {"January", [](const Moment& m) { return std::string(MONTHS[m.parts.tm_mon]); }},
    {"Jan", [](const Moment& m) { return std::string(MONTHS[m.parts.tm_mon], 3); }},
    {"Monday", [](const Moment& m) { return std::string(DAYS[m.parts.tm_wday]); }},
    {"Mon", [](const Moment& m) { return std::string(DAYS[m.parts.tm_wday], 3); }},
    {"MST", [](const Moment&) { return std::string("UTC"); }},
    {"2006", [](const Moment& m) { return numbered("%04d", m.parts.tm_year + 1900); }},
    {"-07:00:00", [](const Moment&) { return std::string("+00:00:00"); }},
    {"-07:00", [](const Moment&) { return std::string("+00:00"); }},
    {"-070000", [](const Moment&) { return std::string("+000000"); }},
    {"-0700", [](const Moment&) { return std::string("+0000"); }},
    {"-07", [](const Moment&) { return std::string("+00"); }},
    {"Z07:00:00", [](const Moment&) { return std::string("Z"); }},
    {"Z07:00", [](const Moment&) { return std::string("Z"); }},
    {"Z070000", [](const Moment&) { return std::string("Z"); }},
    {"Z0700", [](const Moment&) { return std::string("Z"); }},
    {"Z07", [](const Moment&) { return std::string("Z"); }},
    {"002", [](const Moment& m) { return numbered("%03d", m.parts.tm_yday + 1); }},
    {"__2", [](const Moment& m) { return numbered("%3d", m.parts.tm_yday + 1); }},
    {"01", [](const Moment& m) { return numbered("%02d", m.parts.tm_mon + 1); }},
    {"02", [](const Moment& m) { return numbered("%02d", m.parts.tm_mday); }},
    {"03", [](const Moment& m) { return numbered("%02d", hour12(m)); }},
    {"04", [](const Moment& m) { return numbered("%02d", m.parts.tm_min); }},
    {"05", [](const Moment& m) { return numbered("%02d", m.parts.tm_sec); }},
    {"06", [](const Moment& m) { return numbered("%02d", m.parts.tm_year % 100); }},
    {"15", [](const Moment& m) { return numbered("%02d", m.parts.tm_hour); }},
    {"PM", [](const Moment& m) { return std::string(m.parts.tm_hour < 12 ? "AM" : "PM"); }},
    {"pm", [](const Moment& m) { return std::string(m.parts.tm_hour < 12 ? "am" : "pm"); }},
    {"_2006", [](const Moment& m) { return numbered("_%04d", m.parts.tm_year + 1900); }},
    {"_2", [](const Moment& m) { return numbered("%2d", m.parts.tm_mday); }},
    {"1", [](const Moment& m) { return numbered("%d", m.parts.tm_mon + 1); }},
    {"2", [](const Moment& m) { return numbered("%d", m.parts.tm_mday); }},
    {"3", [](const Moment& m) { return numbered("%d", hour12(m)); }},
    {"4", [](const Moment& m) { return numbered("%d", m.parts.tm_min); }},
    {"5", [](const Moment& m) { return numbered("%d", m.parts.tm_sec); }},
};

// `.000` all three digits, `.999` without zeros at the end. How much of the layout it took.
size_t fractionOf(std::string_view layout, const Moment& m, std::string& out) {
  bool mark = layout.size() > 1 && (layout[0] == '.' || layout[0] == ',');
  if (!mark || (layout[1] != '0' && layout[1] != '9')) return 0;
  auto end = layout.find_first_not_of(layout[1], 1);
  size_t count = (end == std::string_view::npos ? layout.size() : end) - 1;
  bool digitFollows = end != std::string_view::npos && layout[end] >= '0' && layout[end] <= '9';
  if (digitFollows || count > 9) return 0;
  char buffer[24];
  snprintf(buffer, sizeof buffer, "%09lld", static_cast<long long>(m.fraction));
  auto digits = std::string(buffer).substr(0, count);
  if (layout[1] == '9') digits.erase(digits.find_last_not_of('0') + 1);
  if (!digits.empty()) out += layout[0] + digits;
  return count + 1;
}

}  // namespace

std::string timeText(std::string_view layout, int64_t ns) {
  Moment moment;
  moment.fraction = (ns % NS_PER_SECOND + NS_PER_SECOND) % NS_PER_SECOND;
  time_t seconds = (ns - moment.fraction) / NS_PER_SECOND;
  gmtime_r(&seconds, &moment.parts);
  std::string out;
  while (!layout.empty()) {
    size_t took = fractionOf(layout, moment, out);
    for (auto& part : PARTS) {
      if (took > 0) break;
      bool name = part.layout == "Jan" || part.layout == "Mon";
      bool word = name && layout.size() > 3 && layout[3] >= 'a' && layout[3] <= 'z';
      if (word || !layout.starts_with(part.layout)) continue;
      out += part.text(moment);
      took = part.layout.size();
    }
    if (took == 0) {
      out += layout[0];
      took = 1;
    }
    layout.remove_prefix(took);
  }
  return out;
}

}  // namespace orch::integration::templates
