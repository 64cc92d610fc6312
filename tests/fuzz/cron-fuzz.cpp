// Schedules as users write them: parsed, and asked for the times that follow.
#include <cstdint>
#include <string_view>

#include "decide/cron.h"
#include "orch/attempt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using orch::control::manager::Cron;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto parsed = orch::attemptNow([&] { return Cron::parse(text); });
  if (!parsed.ok()) return 0;
  int64_t atNs = 1'800'000'000'000'000'000;
  for (int i = 0; i < 3; ++i) {
    int64_t nextNs = parsed.value().nextNs(atNs);
    // What was taken comes, and on a minute.
    if (nextNs <= atNs || nextNs == INT64_MAX || nextNs % 60'000'000'000 != 0) __builtin_trap();
    atNs = nextNs;
  }
  return 0;
}
