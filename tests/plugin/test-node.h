// A kernel with real processes and held time, and plugins that misbehave.
#pragma once

#include <catch2/catch.hpp>
#include <kj/async-io.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "kernel/kernel.h"
#include "orch/attempt.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"

namespace orch {

using State = schema::PluginStatus::State;

constexpr auto DEADLINE = 30 * kj::SECONDS;  // of a call, if the manifest says nothing else
constexpr auto START_DEADLINE = 120 * kj::SECONDS;

// A kernel on the real loop with a manifest of the test's own. Its deadlines and back-offs come
// when the test advances `time`, however slow the machine is.
class TestNode {
 public:
  enum class Begin { SETTLED, STARTING };  // whether it waits for the plugins' first start

  explicit TestNode(const std::string& plugins, Begin begin = Begin::SETTLED)
      : folder("supervision"),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        time(*env, io.waitScope),
        kernel(time, manifestOf(plugins), places(), folder.sub("node.toml").cStr()) {
    kernel.open().wait(io.waitScope);
    starting = kernel.start().promise().eagerlyEvaluate(nullptr);
    if (begin == Begin::SETTLED) starting.wait(io.waitScope);
  }
  // What a reload finds.
  void write(const std::string& plugins) {
    std::ofstream(folder.sub("node.toml").cStr()) << textOf(plugins);
  }
  schema::Kernel::Client service() {
    auto request = kernel.gateway().serviceRequest();
    request.setName("kernel");
    return request.send().wait(io.waitScope).getCapability().castAs<schema::Kernel>();
  }
  ~TestNode() noexcept(false) { kernel.stop().wait(io.waitScope); }

  plugin::PluginRunner& plugin(const std::string& id) { return *kernel.plugins().find(id); }
  schema::Scheduler::Client scheduler(kj::StringPtr name) {
    auto request = kernel.gateway().serviceRequest();
    request.setName(name);
    return request.send().wait(io.waitScope).getCapability().castAs<schema::Scheduler>();
  }
  kj::Promise<Outcome<void>> begin(schema::Scheduler::Client client, kj::StringPtr wish) {
    auto request = client.openRequest();
    request.initNodes(1)[0].setId(wish);
    return attempt(request.send().ignoreResult()).promise();
  }
  Outcome<void> call(schema::Scheduler::Client client, kj::StringPtr wish) {
    return begin(kj::mv(client), wish).wait(io.waitScope);
  }
  kj::Promise<Outcome<void>> place(schema::PlacementTable::Client table, kj::StringPtr wish) {
    auto request = table.placeRequest();
    request.initGroup().setServiceId(wish);
    return attempt(request.send().ignoreResult()).promise();
  }
  // One that nobody answers: its deadline passes.
  Outcome<void> callInVain(schema::Scheduler::Client client, kj::StringPtr wish) {
    auto call = begin(kj::mv(client), wish);
    time.advance(DEADLINE);
    return kj::mv(call).wait(io.waitScope);
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, io.waitScope, what, kj::mv(reached));
  }
  void waitFor(const std::string& id, State state) {
    until(kj::str(id.c_str(), " in state ", static_cast<unsigned>(state)),
          [&]() { return plugin(id).state() == state; });
  }
  void waitForReason(const std::string& id, const std::string& part) {
    until(kj::str(id.c_str(), ": ", part.c_str()),
          [&]() { return plugin(id).reason().find(part) != std::string::npos; });
  }
  // Lets back-offs pass.
  void restartUntil(const std::string& id, State state) {
    until(kj::str(id.c_str(), " again in state ", static_cast<unsigned>(state)), [&]() {
      if (plugin(id).state() != state) time.advance(1 * kj::MILLISECONDS);
      return plugin(id).state() == state;
    });
  }
  uint32_t pidOf(const std::string& id) {
    capnp::MallocMessageBuilder message;
    return statusOf(id, message).getPid();
  }
  uint64_t callsOf(const std::string& id) {
    capnp::MallocMessageBuilder message;
    return statusOf(id, message).getCalls();
  }
  std::string isolationOf(const std::string& id) {
    capnp::MallocMessageBuilder message;
    return statusOf(id, message).getIsolation().cStr();
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  testing::HeldTime time;
  Kernel kernel;
  kj::Promise<void> starting = kj::READY_NOW;

 private:
  schema::PluginStatus::Reader statusOf(const std::string& id,
                                        capnp::MallocMessageBuilder& message) {
    auto status = message.initRoot<schema::PluginStatus>();
    plugin(id).describe(status);
    return status.asReader();
  }
  std::string textOf(const std::string& plugins) {
    return std::string("[node]\nname = 'test'\ndata = '") + folder.sub("data").cStr() +
           "'\nrun = '" + folder.sub("run").cStr() + "'\nlogLevel = 'error'\n" + plugins;
  }
  config::Manifest manifestOf(const std::string& plugins) {
    return config::parseManifest(textOf(plugins), "test.toml");
  }
  plugin::PluginPlaces places() {
    plugin::PluginPlaces places;
    places.folders = {folder.sub("plugins").cStr(), TEST_PLUGINS, SHIPPED_PLUGINS};
    places.ownFolder = SHIPPED_PLUGINS;
    places.hostProgram = PROGRAMS "/orch-plugin-host";
    return places;
  }
};

inline std::string misbehaving(const char* isolation, const char* rest = "") {
  return std::string("[[plugin]]\nid = 'test.misbehaves'\nisolation = '") + isolation +
         "'\nrestart = { backoff = '1ms..5ms', limit = 3, window = '1m' }\n" + rest;
}

// A copy elsewhere does not find the SDK beside it: this goes into its entry.
inline constexpr const char* FINDS_SDK = "env = { LD_LIBRARY_PATH = '" PROGRAMS "/../lib' }\n";
inline std::string pluginContent() {
  std::ifstream file(TEST_PLUGINS "/test.misbehaves.so", std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

}  // namespace orch
