// What the tests of this plugin stand on: network namespaces as hosts, on a wire of their own, the
// plugin in each of them, tasks' namespaces, and sockets in any of them.
#pragma once

#include <kj/async-io.h>
#include <kj/io.h>

#include <map>
#include <string>
#include <vector>

#include "layout.h"
#include "leg.h"
#include "lib/testing/checked.h"
#include "lib/testing/test-sockets.h"
#include "orch/conformance/leg-conformance.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/schema/network.capnp.h"

namespace orch::testing {
enum class Isolation;
class PluginModule;
class TestFolder;
class TestHost;
}  // namespace orch::testing

namespace orch::network::overlay {

using conformance::Mate;
using conformance::Net;
using conformance::News;
using conformance::Vip;

class World;

// One host with the plugin on it; the plugin can be dropped as a crash would and started again.
class OneHost final {
 public:
  OneHost(World& world, int number);
  ~OneHost() noexcept(false);

  void run(const char* balancer = "auto",
           const char* wireguardGo = "wireguard-go");  // configure, recover, start
  void crash();
  // Takes all legs away, and ends the run.
  void end();
  // These legs, "network task": their records, ports, and the networks' namespaces, and no others.
  void untilOnly(const std::vector<std::string>& legs);
  void tell(const News& news);
  // Makes the task's namespace if it is not there.
  void plug(const std::string& network, const std::string& taskId, const std::string& address,
            const std::string& device = "eth1", WayOut wayOut = WayOut::OPEN);
  // Gives the task an eth0 whose other end is on this host, with a route to all; the host has .1 of
  // the subnet, the task .2: 10.9.0.0/24, and fd09::/64.
  void connect(const std::string& taskId);
  void unplug(const std::string& network, const std::string& taskId);
  // What is not as it should be: "object: expected, found nothing", and " repaired".
  std::vector<std::string> check(const std::string& network = "") {
    return checking(network, false);
  }
  std::vector<std::string> repair() { return checking("", true); }
  uint32_t checked = 0;              // things that the last check looked at
  std::vector<std::string> members;  // that it told of: "network task"
  void retain(std::vector<std::string> taskIds);

  // Its public key, as it says it, or why it has none.
  std::string key();
  // Runs in the host's own namespace, as the plugin's threads do.
  void inside(kj::FunctionParam<void()> work) const;
  std::vector<std::string> routes();
  // Returns when that is so often told.
  void awaitEvents(const std::string& topic, size_t count);
  Layout layout() const;
  std::string address() const;                // on the wire
  std::vector<std::string> warnings() const;  // "warn network.leg-lost" and such

 private:
  std::vector<std::string> checking(const std::string& network, bool repair);
  class OwnEnv;
  friend class World;
  World& world;
  const int number;
  std::string pin;
  kj::Own<OwnEnv> env;
  kj::Own<testing::TestHost> host;
  kj::Maybe<kj::Own<testing::PluginModule>> module;  // in a process of its own
  kj::Maybe<schema::Plugin::Client> plugin;
  kj::Maybe<schema::LegDriver::Client> driver;
};

// Hosts 0, 1 ... at 192.168.50.10, .11 ..., and tasks that belong to none of them. Leaves nothing.
class World final : public conformance::LegSubject {
 public:
  World(kj::StringPtr testName, int hosts, bool ipv6 = false);
  // With PROCESS each host runs the plugin's own file.
  World(kj::StringPtr testName, int hosts, testing::Isolation isolation, bool ipv6 = false);
  ~World() noexcept(false) override;

  OneHost& operator[](int number) { return *hosts[number]; }
  void tellAll(const News& news);
  // Fails, with the name of what did not come.
  void until(kj::StringPtr what, kj::Function<bool()> there);
  // From now on the hosts are told each other's keys.
  void shareKeys();

  kj::WaitScope& waitScope() override { return io.waitScope; }
  kj::StringPtr driverName() override { return "overlay"; }
  schema::LegDriver::Client driver(int host) override;
  void crash(int host) override { hosts[host]->crash(); }
  void run(int host) override { hosts[host]->run(); }
  bool crashesMidway() override;
  std::string nodeId(int host, int asSeenBy) override;
  std::string hostAddress(int host) override;
  std::string nodeKey(int host) override { return keys[host]; }
  std::string namespaceOf(const std::string& taskId) override { return task(taskId); }
  void endNamespace(const std::string& taskId) override { endTask(taskId); }
  void untilOnly(int host, const std::vector<std::string>& legs) override {
    hosts[host]->untilOnly(legs);
  }
  // The path of its namespace.
  std::string task(const std::string& taskId);
  void endTask(const std::string& taskId);
  std::string folder() const;

 private:
  friend class OneHost;
  const testing::Isolation isolation;
  kj::Own<testing::TestFolder> files;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  std::map<std::string, std::string> tasks;
  std::map<int, std::string> keys;
  std::vector<kj::Own<OneHost>> hosts;
};

}  // namespace orch::network::overlay
