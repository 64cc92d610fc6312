// What the tests of this plugin stand on: a network namespace of the test's own as the node, the
// plugin in it, other hosts beside it, and sockets in any of them.
#pragma once

#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/function.h>
#include <kj/io.h>

#include <optional>
#include <string>
#include <vector>

#include "layout.h"
#include "lib/testing/checked.h"
#include "lib/testing/other-host.h"
#include "lib/testing/test-sockets.h"
#include "orch/conformance/network-conformance.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/schema/network.capnp.h"

namespace orch::testing {
class HeldTime;
enum class Isolation;
class PluginModule;
class TestFolder;
class TestHost;
}  // namespace orch::testing

namespace orch::network::bridge {

// A task's end as the plugin answered it.
struct End {
  std::string taskId;
  std::string path;
  std::string address;
  std::string address6;
  bool operator==(const End&) const = default;
};

// One node with the plugin on it; the plugin can be dropped as a crash would and started again.
// Leaves nothing: tasks that a test left are detached when it goes.
class TestNode final : public conformance::NetworkSubject {
 public:
  explicit TestNode(kj::StringPtr testName, kj::StringPtr subnet = "172.30.0.0/16");
  // With PROCESS it is the plugin's own file, and time passes by itself.
  TestNode(kj::StringPtr testName, kj::StringPtr subnet, testing::Isolation isolation);
  ~TestNode() noexcept(false) override;

  void run() override;
  void crash() override;
  bool crashesMidway() override;
  void untilOnly(const std::vector<std::string>& taskIds) override;
  kj::WaitScope& waitScope() override { return io.waitScope; }
  schema::NetworkDriver::Client driver() override { return KJ_ASSERT_NONNULL(service); }
  void stop();
  // Time passes for the plugin, as it does by this alone, until `reached`.
  void pass(kj::StringPtr what, kj::Function<bool()> reached);

  kj::Promise<End> attachLater(const std::string& taskId);
  End attach(const std::string& taskId) { return attachLater(taskId).wait(io.waitScope); }
  kj::Promise<void> detachLater(const std::string& taskId);
  void detach(const std::string& taskId) { detachLater(taskId).wait(io.waitScope); }
  std::vector<End> retain(std::vector<std::string> taskIds);
  uint32_t used();
  uint32_t total();
  // What is not as it should be: "object: expected, found nothing", and " repaired".
  std::vector<std::string> check() { return checking(false); }
  std::vector<std::string> repair() { return checking(true); }
  std::vector<std::string> members;  // tasks that the last check told of

  Layout layout() const;
  kj::StringPtr folder() const;
  kj::WaitScope& scope() { return io.waitScope; }
  const std::vector<std::string>& logLines() const;
  std::vector<std::string> events() const;  // their topics

 private:
  std::vector<std::string> checking(bool repair);
  // Waits, by the kernel's messages, until these host ends of tasks' devices are there and no
  // other.
  void untilDevices(const std::vector<std::string>& wanted);
  OwnNetwork network;
  kj::Own<testing::TestFolder> files;
  kj::String subnet;
  const testing::Isolation isolation;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  kj::Own<testing::HeldTime> time;
  kj::Own<testing::TestHost> host;
  kj::Maybe<kj::Own<testing::PluginModule>> module;  // in a process of its own
  kj::Maybe<schema::Plugin::Client> plugin;
  kj::Maybe<schema::NetworkDriver::Client> service;
};

}  // namespace orch::network::bridge
