// Expressions of filters as users write them: parsed, and asked of a node that answers anything.
#include <cstdint>
#include <string>

#include "lib/expression.h"
#include "orch/attempt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using orch::filter::Expression;
  std::string text(reinterpret_cast<const char*>(data), size);
  auto parsed = orch::attemptNow([&] { return Expression::parse(text, {"constraint", "a"}); });
  if (!parsed.ok()) return 0;
  for (std::string answer : {"", "10.0.0.1", "16g", "eu-west", "registry:5000/a/b:1@sha256:0"}) {
    parsed.value().isMetBy([&](std::string_view) { return answer; });
  }
  std::string key, value;
  parsed.value().isPlain(key, value);
  parsed.value().keys();
  parsed.value().isNegated();
  parsed.value().hasNegation();
  return 0;
}
