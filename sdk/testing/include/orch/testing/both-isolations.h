// A plugin's own file, in orchd and in a process of its own.
#pragma once

#include <catch2/catch.hpp>

#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::testing {

// Calls `check(client, waitScope)` with the service of that name, of the plugin in the file
// `module` with the defaults of its settings. Catch2 runs the test case once for each isolation.
template <typename Interface, typename Config, typename F>
void inBothIsolations(const char* module, kj::StringPtr service, F check) {
  auto isolation = GENERATE(Isolation::KERNEL, Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  PluginModule loaded(*env, module, isolation, io.waitScope);
  TestHost host("/nowhere", "/nowhere", service);
  capnp::MallocMessageBuilder settings;
  host.configure(loaded.plugin(), settings.initRoot<Config>().asReader(), io.waitScope);
  check(host.start<Interface>(loaded.plugin(), service, io.waitScope), io.waitScope);
}

}  // namespace orch::testing
