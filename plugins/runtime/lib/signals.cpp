#include "signals.h"

#include <strings.h>

#include <csignal>
#include <cstdlib>

#include "orch/fail.h"
#include "orch/kernel-names.h"

namespace orch::runtime {

namespace {

// The kernel's numbers; glibc keeps the first two for itself.
constexpr int RTMIN = 34;
constexpr int RTMAX = 64;

kj::Maybe<int> offsetFrom(const char* text, const char* base, int start) {
  size_t length = strlen(base);
  if (strncasecmp(text, base, length) != 0) return nullptr;
  if (text[length] == '\0') return start;
  char* end;
  long offset = strtol(text + length, &end, 10);
  if (*end != '\0' || end == text + length) return nullptr;
  long number = start + offset;
  if (number < RTMIN || number > RTMAX) return nullptr;
  return static_cast<int>(number);
}

}  // namespace

int signalNumber(kj::StringPtr name) {
  if (name.size() == 0) return SIGTERM;
  char* end;
  long number = strtol(name.cStr(), &end, 10);
  if (*end == '\0' && number >= 1 && number <= RTMAX) return static_cast<int>(number);
  const char* bare = strncasecmp(name.cStr(), "SIG", 3) == 0 ? name.cStr() + 3 : name.cStr();
  for (auto& known : SIGNAL_NAMES) {
    if (strcasecmp(bare, known.name) == 0) return known.number;
  }
  KJ_IF_MAYBE (found, offsetFrom(bare, "RTMIN", RTMIN)) return *found;
  KJ_IF_MAYBE (found, offsetFrom(bare, "RTMAX", RTMAX)) return *found;
  fail(
      kj::str("unknown signal '", name, "': use a name such as SIGTERM, or a number from 1 to 64"));
}

}  // namespace orch::runtime
