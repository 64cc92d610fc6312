// The promises of the kind, kept by the plugin's own file, in orchd and in a process of its own.
#include <catch2/catch.hpp>

#include "config.capnp.h"
#include "orch/conformance/scheduler-conformance.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::scheduler::random {
namespace {

TEST_CASE("random: keeps the promises of a scheduler in both isolations", "[scheduler]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::PluginModule module(*env, ORCH_MODULE, isolation, io.waitScope);
  testing::TestHost host("/nowhere", "/nowhere", "scheduler.random");
  capnp::MallocMessageBuilder settings;
  host.configure(module.plugin(), settings.initRoot<Config>().asReader(), io.waitScope);
  auto scheduler = host.start<schema::Scheduler>(module.plugin(), "scheduler.random", io.waitScope);
  for (auto& check : conformance::schedulerChecks()) {
    INFO(check.name);
    CHECK_NOTHROW(check.run(scheduler, io.waitScope));
  }
}

}  // namespace
}  // namespace orch::scheduler::random
