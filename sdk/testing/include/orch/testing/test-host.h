// A kernel's stand-in for the test of one plugin: its node is a folder of the test's own, its
// services are what the test puts there, events and log lines are kept for assertions.
#pragma once

#include <kj/string.h>

#include <map>
#include <string>
#include <vector>

#include "orch/host.h"
#include "orch/plugin.h"

namespace orch::testing {

struct SeenEvent {
  std::string topic;
  std::string subject;
  std::map<std::string, std::string> attributes;
};

// Refers to nothing; the capability and the recorder share their state.
class TestHost final {
 public:
  // `dataDir` and `runDir` need not exist.
  TestHost(kj::StringPtr dataDir, kj::StringPtr runDir, kj::StringPtr instance = "test.plugin");
  ~TestHost() noexcept(false);

  schema::Host::Client client();
  // 25 characters; before anything is configured.
  void setNodeId(kj::StringPtr id);
  void addService(kj::StringPtr name, capnp::Capability::Client service);
  // An event to all who have subscribed, to whatever. Settles when they have taken it.
  kj::Promise<void> emit(kj::StringPtr topic, kj::StringPtr subject = "");
  const std::vector<SeenEvent>& events() const;
  // "warn image.pull-failed": level and message of each line.
  const std::vector<std::string>& logLines() const;

  // An instance that is configured with `settings`, a Cap'n Proto struct reader.
  template <typename Reader>
  schema::Plugin::Client configure(schema::Plugin::Client plugin, Reader settings,
                                   kj::WaitScope& waitScope) {
    auto request = plugin.configureRequest();
    request.setHost(client());
    request.getSettings().setAs<capnp::FromReader<Reader>>(settings);
    request.send().wait(waitScope);
    return plugin;
  }
  // recover() and start(); the service called `name`, as T.
  template <typename T>
  typename T::Client start(schema::Plugin::Client plugin, kj::StringPtr name,
                           kj::WaitScope& waitScope) {
    plugin.recoverRequest().send().wait(waitScope);
    auto started = plugin.startRequest().send().wait(waitScope);
    for (auto service : started.getServices()) {
      if (service.getName() == name) return service.getCapability().template castAs<T>();
    }
    KJ_FAIL_REQUIRE("the plugin does not offer this service", name);
  }

  struct State;

 private:
  kj::Own<State> state;
};

// A folder of its own under TMPDIR (/tmp), named after the test and the pid; removed when it goes.
class TestFolder final {
 public:
  explicit TestFolder(kj::StringPtr testName);
  ~TestFolder() noexcept(false);
  kj::StringPtr path() const { return folder; }
  kj::String sub(kj::StringPtr name) const { return kj::str(folder, "/", name); }

 private:
  kj::String folder;
};

}  // namespace orch::testing
