// What the tests of this plugin stand on: a network namespace of the test's own as the node with a
// bridge for tasks, the plugin in it, another host beside it, and sockets in any of them.
#pragma once

#include <kj/async-io.h>
#include <kj/io.h>

#include <map>
#include <string>
#include <vector>

#include "layout.h"
#include "lib/testing/checked.h"
#include "lib/testing/other-host.h"
#include "lib/testing/test-sockets.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/schema/network.capnp.h"

namespace orch::testing {
class HeldTime;
class TestFolder;
class TestHost;
}  // namespace orch::testing

namespace orch::network::ingress {

// A published port, written short: {80, 8080}.
struct Port {
  uint16_t target;
  uint16_t published;
  bool udp = false;
  bool host = false;
};

// A task, and what was answered.
struct End {
  std::string taskId;
  std::string path;
  std::string address;
  std::vector<uint16_t> published;
  std::string address6 = "";
};

// Another node, as the plugin is told of it.
struct Elsewhere {
  std::string id;
  std::string address;
  std::vector<std::pair<uint16_t, uint32_t>> tcp;  // port, tasks
  std::vector<std::pair<uint16_t, uint32_t>> udp = {};
};

// One node with the plugin on it; the plugin can be dropped as a crash would and started again.
// Its bridge does what network.bridge does for a task. Leaves nothing.
class TestNode final {
 public:
  explicit TestNode(kj::StringPtr testName);
  ~TestNode() noexcept(false);

  void run();    // configure, recover, start
  void crash();  // without stop
  void stop();
  // Time passes for the plugin, as it does by this alone, until `reached`.
  void pass(kj::StringPtr what, kj::Function<bool()> reached);

  // Makes the task if it is not there.
  End publish(const std::string& taskId, std::vector<Port> ports = {});
  End publishActive(const std::string& taskId, std::vector<Port> ports);
  void activate(const std::string& taskId);
  void deactivate(const std::string& taskId);
  void withdraw(const std::string& taskId);
  void retain(std::vector<std::string> taskIds);
  // The ports that are not answered on.
  std::vector<std::string> tell(const std::string& own, std::vector<Elsewhere> nodes,
                                std::vector<std::string> gone = {}, bool complete = false);
  // What is not as it should be: "object: expected, found nothing", and " repaired".
  std::vector<std::string> check(const std::string& network = "") {
    return checking(network, false);
  }
  std::vector<std::string> repair() { return checking("", true); }
  uint32_t checked = 0;              // things that the last check looked at
  std::vector<std::string> members;  // tasks that it told of

  size_t files() const;  // records that there are
  Layout layout() const;
  kj::StringPtr folder() const;
  kj::WaitScope& scope() { return io.waitScope; }
  const std::vector<std::string>& logLines() const;
  std::vector<std::string> events() const;  // their topics

 private:
  std::vector<std::string> checking(const std::string& network, bool repair);
  OwnNetwork network;
  kj::Own<testing::TestFolder> folders;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  kj::Own<testing::HeldTime> time;
  kj::Own<testing::TestHost> host;
  kj::Maybe<schema::Plugin::Client> plugin;
  kj::Maybe<schema::PortPublisher::Client> publisher;
  std::map<std::string, End> tasks;
};

// Another one if the table was deleted and made anew.
uint64_t nftTableHandle(kj::StringPtr table);

// Whether the node's table has the chain, `tcp-8080` of a port that leads somewhere.
bool isLed(const TestNode& node, const std::string& chain);

// The host beside it as the node "n2", with so many tasks behind 8080/tcp.
inline Elsewhere other(uint32_t tasks) {
  if (tasks == 0) return {"n2", OTHER_ADDRESS, {}};
  return {"n2", OTHER_ADDRESS, {{8080, tasks}}};
}

}  // namespace orch::network::ingress
