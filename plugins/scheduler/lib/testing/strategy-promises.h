// The promises of the kind, kept by a strategy's own file, in orchd and in a process of its own.
#pragma once

#include <catch2/catch.hpp>

#include "orch/conformance/scheduler-conformance.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::scheduler {

// `service`: its name, `scheduler.spread`.
template <typename Config>
void checkPromises(kj::StringPtr service) {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::PluginModule module(*env, ORCH_MODULE, isolation, io.waitScope);
  testing::TestHost host("/nowhere", "/nowhere", service);
  capnp::MallocMessageBuilder settings;
  host.configure(module.plugin(), settings.initRoot<Config>().asReader(), io.waitScope);
  auto scheduler = host.start<schema::Scheduler>(module.plugin(), service, io.waitScope);
  for (auto& check : conformance::schedulerChecks()) {
    INFO(check.name);
    CHECK_NOTHROW(check.run(scheduler, io.waitScope));
  }
}

}  // namespace orch::scheduler
