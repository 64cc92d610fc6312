// A world for tests of the language: a clock that stands still, and answers by function.
#pragma once

#include "language/rendering.h"
#include "orch/attempt.h"

namespace orch::integration::templates {

class TestWorld final : public World {
 public:
  Value ask(Call& call) override {
    auto found = answers.find(call.function);
    return found == answers.end() ? Value() : found->second;
  }
  std::optional<std::string> env(const std::string& name) override {
    if (name == "EMPTY") return "";
    if (name == "CLUSTER") return "Lab";
    return {};
  }
  // 2009-11-10 23:00:00.123 UTC.
  int64_t nowNs() override { return 1'257'894'000'123'000'000; }

  std::map<std::string, Value> answers;
};

// What comes of it, or the error in angle brackets.
inline std::string rendered(const std::string& text, World& world,
                            const RenderOptions& options = {}) {
  auto outcome = attemptNow([&] { return render(parse("t", text), world, options); });
  return outcome.ok() ? outcome.value() : "<" + std::string(outcome.message().cStr()) + ">";
}
inline std::string rendered(const std::string& text) {
  TestWorld world;
  return rendered(text, world);
}

}  // namespace orch::integration::templates
