// For the tests: the plugin's own file on a node whose tasks the test makes up.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "orch/schema/integration.capnp.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::integration::registrator {

struct TestLoop {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  kj::WaitScope& scope = io.waitScope;
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(*env, scope, what, kj::mv(reached));
  }
};

// A task of the service `web`, of the image httpd:2.4, whose port 80 is published.
struct TestTask {
  std::string id;
  uint16_t port = 8080;
  std::vector<std::string> env;
};

class TestPlugin final {
 public:
  static constexpr kj::StringPtr NODE_ID = "nodenodenodenodenodenoden"_kj;

  // Runs, with the address 192.168.1.102 and what else is set.
  TestPlugin(TestLoop& loop, std::function<void(Config::Builder)> set,
             testing::Isolation isolation = testing::Isolation::KERNEL,
             kj::StringPtr nodeId = NODE_ID);

  // These are all tasks that serve. Settles when the plugin has answered.
  kj::Promise<void> telling(const std::vector<TestTask>& tasks);
  void tell(const std::vector<TestTask>& tasks) { telling(tasks).wait(loop.scope); }
  // How often it has logged that line, as "warn registrator.refused".
  int logged(const std::string& line) const;
  // As the node's other plugins say it.
  void emit(kj::StringPtr topic, kj::StringPtr subject) {
    host.emit(topic, subject).wait(loop.scope);
  }

 private:
  class Feed;
  TestLoop& loop;
  testing::PluginModule module;
  testing::TestHost host;
  kj::Maybe<schema::TaskSink::Client> sink;
};

// The id that such a task has in a registry.
inline std::string idOf(const char* slotAndTask) {
  return std::string("test-node:web.") + slotAndTask + ":80";
}

}  // namespace orch::integration::registrator
