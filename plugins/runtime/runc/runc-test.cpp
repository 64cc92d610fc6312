#include "runc.h"

#include <catch2/catch.hpp>

#include "plugin-under-test.h"

namespace orch::runtime {

const PluginUnderTest PLUGIN_UNDER_TEST =
    OciPluginUnderTest<runc::Config, runc::options>::named("runc");

TEST_CASE("runc: keeps the contract of a runtime", "[runtime][root][cgroup]") {
  OciSubject subject("contract", 8 << 20);
  conformance::runtimeContract(subject);
}

}  // namespace orch::runtime
