#include "human.h"

#include <time.h>

#include <cmath>
#include <cstdio>

namespace orch::cli {

kj::String humanDuration(int64_t nanoseconds) {
  int64_t seconds = nanoseconds / 1'000'000'000;
  if (seconds < 1) return kj::str("Less than a second");
  if (seconds == 1) return kj::str("1 second");
  if (seconds < 60) return kj::str(seconds, " seconds");
  int64_t minutes = seconds / 60;
  if (minutes == 1) return kj::str("About a minute");
  if (minutes < 60) return kj::str(minutes, " minutes");
  int64_t hours = (seconds + 1800) / 3600;
  if (hours == 1) return kj::str("About an hour");
  if (hours < 48) return kj::str(hours, " hours");
  if (hours < 24 * 7 * 2) return kj::str(hours / 24, " days");
  if (hours < 24 * 30 * 2) return kj::str(hours / 24 / 7, " weeks");
  if (hours < 24 * 365 * 2) return kj::str(hours / 24 / 30, " months");
  return kj::str(hours / 24 / 365, " years");
}

kj::String sinceText(kj::StringPtr word, int64_t atNs, int64_t nowNs) {
  if (atNs <= 0) return kj::str(word);
  auto ago = humanDuration(nowNs - atNs);
  ago[0] = static_cast<char>(ago[0] | 0x20);
  return kj::str(word, " ", ago, " ago");
}

static kj::String inUnits(uint64_t bytes, double step, const char* format,
                          const char* const (&units)[7]) {
  auto amount = static_cast<double>(bytes);
  int unit = 0;
  for (; amount >= step && unit < 6; ++unit) amount /= step;
  char text[32];
  snprintf(text, sizeof(text), format, amount);
  return kj::str(text, units[unit]);
}

kj::String humanSize(uint64_t bytes) {
  return inUnits(bytes, 1000, "%.3g", {"B", "kB", "MB", "GB", "TB", "PB", "EB"});
}

kj::String binarySize(uint64_t bytes) {
  return inUnits(bytes, 1024, "%.4g", {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"});
}

kj::String shortDuration(uint64_t microseconds) {
  constexpr uint64_t MILLI = 1000, SECOND = 1000 * MILLI;
  if (microseconds < MILLI) return kj::str(microseconds, "us");
  if (microseconds < SECOND) return kj::str(microseconds / MILLI, "ms");
  return kj::str(microseconds / SECOND, ".", microseconds % SECOND / (SECOND / 10), "s");
}

kj::String shortId(kj::StringPtr id, bool whole) {
  if (whole) return kj::str(id);
  if (id.startsWith("sha256:")) id = id.slice(7);
  return kj::heapString(id.begin(), kj::min(id.size(), size_t(12)));
}

kj::String capitalized(kj::StringPtr word) {
  auto text = kj::str(word);
  if (text.size() > 0 && text[0] >= 'a' && text[0] <= 'z') text[0] -= 'a' - 'A';
  return text;
}

}  // namespace orch::cli
