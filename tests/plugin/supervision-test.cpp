#include <capnp/rpc-twoparty.h>
#include <catch2/catch.hpp>
#include <kj/async-io.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "kernel/kernel.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/testing/test-host.h"

namespace orch {
namespace {

using State = schema::PluginStatus::State;

// A kernel on the real loop with a manifest of the test's own.
class TestNode {
 public:
  explicit TestNode(const std::string& plugins)
      : folder("supervision"),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        kernel(*env, manifestOf(plugins), places(), "") {
    kernel.start().wait(io.waitScope);
  }
  ~TestNode() noexcept(false) { kernel.stop().wait(io.waitScope); }

  plugin::PluginRunner& plugin(const std::string& id) { return *kernel.plugins().find(id); }
  schema::Scheduler::Client scheduler(kj::StringPtr name) {
    auto request = kernel.gateway().serviceRequest();
    request.setName(name);
    return request.send().wait(io.waitScope).getCapability().castAs<schema::Scheduler>();
  }
  Outcome<void> call(schema::Scheduler::Client client, kj::StringPtr wish) {
    auto request = client.openRequest();
    request.initNodes(1)[0].setId(wish);
    return attempt(request.send().ignoreResult()).wait(io.waitScope);
  }
  void waitFor(const std::string& id, State state) {
    while (plugin(id).state() != state)
      env->timer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }
  uint32_t pidOf(const std::string& id) {
    capnp::MallocMessageBuilder message;
    auto status = message.initRoot<schema::PluginStatus>();
    plugin(id).describe(status);
    return status.getPid();
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  Kernel kernel;

 private:
  config::Manifest manifestOf(const std::string& plugins) {
    return config::parseManifest("[node]\nname = 'test'\ndata = '" +
                                     std::string(folder.sub("data").cStr()) + "'\nrun = '" +
                                     folder.sub("run").cStr() + "'\nlogLevel = 'error'\n" + plugins,
                                 "test.toml");
  }
  plugin::PluginPlaces places() {
    plugin::PluginPlaces places;
    places.folders = {folder.sub("plugins").cStr(), TEST_PLUGINS, SHIPPED_PLUGINS};
    places.ownFolder = SHIPPED_PLUGINS;
    places.hostProgram = PROGRAMS "/orch-plugin-host";
    return places;
  }
};

std::string misbehaving(const char* isolation, const char* rest = "") {
  return std::string("[[plugin]]\nid = 'test.misbehaves'\nisolation = '") + isolation +
         "'\nrestart = { backoff = '1ms..5ms', limit = 3, window = '1m' }\n" + rest;
}

TEST_CASE("supervision: the same file runs in the kernel and in a process", "[plugin]") {
  TestNode node(
      "[[plugin]]\nid = 'scheduler.spread'\n"
      "[[plugin]]\nid = 'scheduler.spread#own'\nisolation = 'process'\n");
  CHECK(node.plugin("scheduler.spread").state() == State::RUNNING);
  CHECK(node.plugin("scheduler.spread#own").state() == State::RUNNING);
  CHECK(node.pidOf("scheduler.spread") == 0);
  CHECK(node.pidOf("scheduler.spread#own") != 0);
  CHECK(node.call(node.scheduler("scheduler.spread"), "n1").ok());
  CHECK(node.call(node.scheduler("scheduler.spread#own"), "n1").ok());
}

TEST_CASE(
    "supervision: files outside of the installation's folder run isolated unless told otherwise",
    "[plugin]") {
  TestNode node("[[plugin]]\nid = 'test.misbehaves'\n[[plugin]]\nid = 'scheduler.spread'\n");
  CHECK(node.plugin("test.misbehaves").isolated());
  CHECK_FALSE(node.plugin("scheduler.spread").isolated());
}

TEST_CASE(
    "supervision: a crash costs its callers DISCONNECTED, and the same capability works again",
    "[plugin]") {
  TestNode node(misbehaving("process"));
  auto client = node.scheduler("test.misbehaves");
  auto first = node.pidOf("test.misbehaves");
  auto crashed = node.call(client, "crash");
  REQUIRE_FALSE(crashed.ok());
  CHECK(crashed.error().getType() == kj::Exception::Type::DISCONNECTED);
  node.waitFor("test.misbehaves", State::WAITING);
  node.waitFor("test.misbehaves", State::RUNNING);
  CHECK(node.call(client, "n1").ok());
  CHECK(node.pidOf("test.misbehaves") != first);
}

TEST_CASE("supervision: one that keeps crashing fails, and says how", "[plugin]") {
  TestNode node(misbehaving("process", "config = { mode = 'crashInStart' }\n"));
  node.waitFor("test.misbehaves", State::FAILED);
  CHECK(node.plugin("test.misbehaves").reason() ==
        "its process ended while it was starting; 3 restarts within the window did not help");
}

TEST_CASE("supervision: errors of configure and start are the plugin's state", "[plugin]") {
  for (auto* isolation : {"kernel", "process"}) {
    {
      TestNode node(misbehaving(isolation, "config = { mode = 'refuse' }\n"));
      CHECK(node.plugin("test.misbehaves").state() == State::FAILED);
      CHECK(node.plugin("test.misbehaves").reason() == "mode 'refuse' is refused");
    }
    TestNode node(misbehaving(isolation, "config = { mode = 'throwInStart' }\n"));
    CHECK(node.plugin("test.misbehaves").reason() == "cannot start: it was told not to");
  }
}

TEST_CASE("supervision: an error of a call reaches the caller as it is", "[plugin]") {
  for (auto* isolation : {"kernel", "process"}) {
    TestNode node(misbehaving(isolation));
    auto answer = node.call(node.scheduler("test.misbehaves"), "throw");
    REQUIRE_FALSE(answer.ok());
    CHECK(plainText(answer.error()) == "as you wish");
  }
}

TEST_CASE("supervision: a call that is not answered ends with the plugin's deadline", "[plugin]") {
  TestNode node(misbehaving("process", "deadline = '50ms'\n"));
  auto answer = node.call(node.scheduler("test.misbehaves"), "hang");
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().getType() == kj::Exception::Type::OVERLOADED);
  CHECK(plainText(answer.error()) == "'test.misbehaves' has not answered within 50 ms");
}

TEST_CASE("supervision: wrong settings are named with file, line, key and what is accepted",
          "[plugin]") {
  struct Case {
    const char* config;
    const char* reason;
  };
  const Case cases[] = {
      {"config = { moed = 'well' }\n",
       "test.toml:10: unknown key 'moed' in the settings of 'test.misbehaves'; accepted: mode, "
       "pauseMs, names"},
      {"config = { mode = 'wild' }\n",
       "test.toml:10: 'mode' is 'wild'; accepted: well, refuse, throwInStart, crashInStart, "
       "hangInStart"},
      {"config = { pauseMs = -1 }\n", "test.toml:10: 'pauseMs' is -1; accepted: 0 to 4294967295"},
      {"config = { pauseMs = '5x' }\n",
       "test.toml:10: 'pauseMs' is '5x'; accepted: milliseconds, or a duration such as \"10s\""},
      {"config = { names = 'one' }\n", "test.toml:10: 'names' must be a list, not a text"},
      {"config = { names = [1] }\n", "test.toml:10: 'names' must be a text, not a whole number"},
  };
  for (auto& bad : cases) {
    TestNode node(misbehaving("kernel", bad.config));
    CHECK(node.plugin("test.misbehaves").state() == State::FAILED);
    CHECK(node.plugin("test.misbehaves").reason() == bad.reason);
  }
}

TEST_CASE("supervision: a plugin without a file waits, and starts when it appears", "[plugin]") {
  TestNode node("[[plugin]]\nid = 'test.late'\n");
  CHECK(node.plugin("test.late").state() == State::WAITING);
  CHECK(node.plugin("test.late").reason().find("starts when it appears") != std::string::npos);
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::filesystem::copy(TEST_PLUGINS "/test.misbehaves.so",
                        node.folder.sub("plugins/test.late.so").cStr());
  node.kernel.plugins().filesChanged();
  node.waitFor("test.late",
               State::FAILED);  // it is another plugin: read, checked and refused by name
  CHECK(node.plugin("test.late").reason().find("is 'test.misbehaves', not 'test.late'") !=
        std::string::npos);
}

TEST_CASE("supervision: a reload starts, stops and restarts what changed", "[plugin]") {
  TestNode node(misbehaving("process") + "[[plugin]]\nid = 'scheduler.spread'\n");
  auto entries =
      config::parseManifest(misbehaving("process", "config = { pauseMs = 5 }\n") +
                                "[[plugin]]\nid = 'scheduler.spread#own'\nisolation = 'process'\n",
                            "new.toml")
          .plugins;
  auto result = node.kernel.plugins().reload(entries).wait(node.io.waitScope);
  CHECK(result.applied == std::vector<std::string>{"scheduler.spread stopped",
                                                   "test.misbehaves restarted",
                                                   "scheduler.spread#own added"});
  node.waitFor("scheduler.spread#own", State::RUNNING);
  node.waitFor("test.misbehaves", State::RUNNING);
  CHECK(node.kernel.plugins().find("scheduler.spread") == nullptr);
}

TEST_CASE("supervision: who blocks the loop is named, and orchd ends", "[plugin]") {
  testing::TestFolder folder("watchdog");
  std::string manifest = folder.sub("node.toml").cStr();
  // Copied to where the installation's plugins would be, so that the watchdog knows it for a
  // plugin.
  std::filesystem::create_directories(folder.sub("orch/plugins").cStr());
  std::filesystem::copy(TEST_PLUGINS "/test.misbehaves.so",
                        folder.sub("orch/plugins/test.misbehaves.so").cStr());
  std::ofstream(manifest) << "[node]\nname = 'test'\ndata = '" << folder.sub("data").cStr()
                          << "'\nrun = '" << folder.sub("run").cStr()
                          << "'\nloopLimit = '2s'\nplugins = ['"
                          << folder.sub("orch/plugins").cStr() << "']\n"
                          << misbehaving("kernel");
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  ProcessSpec spec;
  for (auto* arg :
       {"sh", "-c", "exec " PROGRAMS "/orchd --config \"$0\" 2>\"$1\"", manifest.c_str()})
    spec.argv.add(kj::str(arg));
  spec.argv.add(folder.sub("log"));
  spec.env.add(kj::str("PATH=/usr/bin:/bin"));
  auto orchd = env->processes().spawn(kj::mv(spec)).wait(io.waitScope);
  auto socket = kj::str("unix:", folder.sub("run/orchd.sock"));
  while (orchd->signal(0) && !std::filesystem::exists(folder.sub("run/orchd.sock").cStr())) {
    env->timer().afterDelay(5 * kj::MILLISECONDS).wait(io.waitScope);
  }
  auto address = io.provider->getNetwork().parseAddress(socket).wait(io.waitScope);
  auto stream = address->connect().wait(io.waitScope);
  capnp::TwoPartyClient connection(*stream);
  auto gateway = connection.bootstrap().castAs<schema::Gateway>();
  auto find = gateway.serviceRequest();
  find.setName("test.misbehaves");
  auto blocker = find.send().getCapability().castAs<schema::Scheduler>();
  auto request = blocker.openRequest();
  request.initNodes(1)[0].setId("block");
  auto answer = attempt(request.send().ignoreResult()).wait(io.waitScope);
  CHECK_FALSE(answer.ok());
  int status = orchd->onExit().wait(io.waitScope);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  std::ifstream log(folder.sub("log").cStr());
  std::string text((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
  CHECK(text.find("kernel.loop-blocked: the event loop has stood still for too long; held by ") !=
        std::string::npos);
  CHECK(text.find("/orch/plugins/test.misbehaves.so") != std::string::npos);
}

}  // namespace
}  // namespace orch
