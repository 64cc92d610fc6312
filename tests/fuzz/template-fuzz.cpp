// A template that somebody wrote, and all that it may ask for.
#include "language/rendering.h"
#include "orch/attempt.h"

namespace orch::integration::templates {
namespace {

class Nothing final : public World {
 public:
  Value ask(Call&) override {
    Value::Struct service{"*dep.HealthService",
                          {{"Name", "web"},
                           {"Tags", Value::List{{Value("a"), Value("b")}, true}},
                           {"Port", int64_t{80}},
                           {"Key", "a/b"},
                           {"Value", "v"},
                           {"ServiceMeta", Value::Map()}}};
    return Value::list({std::move(service)});
  }
  std::optional<std::string> env(const std::string&) override { return "value"; }
  int64_t nowNs() override { return 1; }
};

}  // namespace
}  // namespace orch::integration::templates

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace orch::integration::templates;
  std::string text(reinterpret_cast<const char*>(data), size);
  RenderOptions options;
  options.limits.steps = 10'000;
  options.limits.printedBytes = 1 << 20;
  options.limits.madeBytes = 4 << 20;
  Nothing world;
  orch::attemptNow([&] { return render(parse("t", text), world, options); });
  return 0;
}
