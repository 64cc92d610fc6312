// Constraints as users write them: parsed, and asked of a node that answers anything.
#include <cstdint>
#include <string>

#include "orch/attempt.h"
#include "schedule/constraint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using orch::control::manager::Constraint;
  std::string text(reinterpret_cast<const char*>(data), size);
  auto parsed = orch::attemptNow([&] { return Constraint::parse(text); });
  if (!parsed.ok()) return 0;
  for (std::string answer : {"", "10.0.0.1", "16g", "eu-west"}) {
    parsed.value().isMetBy([&](std::string_view) { return answer; });
  }
  std::string key, value;
  parsed.value().isPlain(key, value);
  parsed.value().keys();
  return 0;
}
