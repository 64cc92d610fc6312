#include "spec-difference.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include <functional>
#include <string>

namespace orch::cli {
namespace {

using SpecEdit = std::function<void(schema::ServiceSpec::Builder)>;

std::string difference(const SpecEdit& before, const SpecEdit& after) {
  capnp::MallocMessageBuilder first;
  capnp::MallocMessageBuilder second;
  for (auto message : {&first, &second}) {
    auto spec = message->initRoot<schema::ServiceSpec>();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(3);
    spec.initTask().initContainer().setImage("web:1");
    if (message == &first) before(spec);
    if (message == &second) after(spec);
  }
  return differenceText(first.getRoot<schema::ServiceSpec>().asReader(),
                        second.getRoot<schema::ServiceSpec>().asReader())
      .cStr();
}

void setEnv(schema::ServiceSpec::Builder spec, std::initializer_list<const char*> entries) {
  auto env = spec.getTask().getContainer().initEnv(static_cast<unsigned>(entries.size()));
  uint32_t i = 0;
  for (auto entry : entries) env.set(i++, entry);
}

TEST_CASE("difference: what changed, in a few words", "[cli]") {
  auto same = [](auto) {};
  CHECK(difference(same, same) == "");
  CHECK(difference(same, [](auto spec) { spec.getTask().getContainer().setImage("web:2"); }) ==
        "image web:1 -> web:2");
  CHECK(difference(same, [](auto spec) {
          spec.getMode().getReplicated().setReplicas(5);
          spec.getTask().initResources().setLimitMemoryBytes(64 << 20);
          spec.initUpdate().setDelayMs(1500);
          spec.getTask().getContainer().setReadOnly(true);
        }) == "replicas 3 -> 5, readOnly true, limitMemory 0 -> 64MiB, update.delay 0 -> 1s500ms");
  CHECK(difference(
            [](auto spec) {
              setEnv(spec, {"A=1", "B=1", "C=1"});
            },
            [](auto spec) {
              setEnv(spec, {"C=1", "A=2", "D=1"});
            }) == "env A +D -B");
  CHECK(difference(same, [](auto spec) {
          spec.getTask().getContainer().setWorkdir("/a/path/that/is/too/long/for/a/table");
        }) == "workdir");
  CHECK(difference(same, [](auto spec) { spec.getTask().setForceUpdate(1); }) ==
        "forceUpdate 0 -> 1");
}

}  // namespace
}  // namespace orch::cli
