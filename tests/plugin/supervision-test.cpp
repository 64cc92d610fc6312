#include <catch2/catch.hpp>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "orch/descriptor.h"
#include "orch/fail.h"
#include "test-node.h"

namespace orch {
namespace {

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
  CHECK(
      plainText(crashed.error()) ==
      "plugin 'test.misbehaves': its process was ended by signal 9 (Killed) while it was asked for "
      "'open'");
  node.waitFor("test.misbehaves", State::WAITING);
  node.restartUntil("test.misbehaves", State::RUNNING);
  CHECK(node.call(client, "n1").ok());
  CHECK(node.pidOf("test.misbehaves") != first);
}

TEST_CASE("supervision: one that keeps crashing fails, and says how", "[plugin]") {
  TestNode node(misbehaving("process", "config = { mode = 'crashInStart' }\n"));
  node.restartUntil("test.misbehaves", State::FAILED);
  CHECK(node.plugin("test.misbehaves").reason() ==
        "its process was ended by signal 9 (Killed) while it was starting; 3 restarts within the "
        "window did not help; when the cause is gone: orch config reload");
}

// What this process and its children write to stderr goes to a file meanwhile.
class Written final {
 public:
  explicit Written(const std::string& path) : path(path), before(dup(STDERR_FILENO)) {
    int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    KJ_SYSCALL(dup2(file, STDERR_FILENO));
    close(file);
  }
  ~Written() {
    dup2(before, STDERR_FILENO);
    close(before);
  }
  int64_t lines() const {
    std::ifstream file(path);
    std::istreambuf_iterator<char> begin(file), end;
    return std::count(begin, end, '\n');
  }

 private:
  const std::string path;
  const int before;
};

TEST_CASE("supervision: of a plugin that fails for hours the log stays small", "[plugin]") {
  SECTION("one that does not start") {
    TestNode node(misbehaving("process", "config = { mode = 'crashInStart' }\n"),
                  TestNode::Begin::STARTING);
    Written log(node.folder.sub("log").cStr());
    node.restartUntil("test.misbehaves", State::FAILED);
    auto lines = log.lines();
    CHECK(lines <= 4 + 1);  // its starts, and that it has failed
    node.time.advance(3 * kj::HOURS);
    CHECK(log.lines() == lines);
  }
  SECTION("one that complains of every call") {
    for (auto* isolation : {"kernel", "process"}) {
      TestNode node(misbehaving(isolation));
      auto client = node.scheduler("test.misbehaves");
      Written log(node.folder.sub("log").cStr());
      constexpr int CALLS = 5'000, APART_S = 2;
      for (int i = 0; i < CALLS; ++i) {
        REQUIRE(node.call(client, "complain").ok());
        node.time.advance(APART_S * kj::SECONDS);
      }
      CHECK(log.lines() > 1'000);
      CHECK(log.lines() <= 1'000 + CALLS * APART_S / 10 + 1);
    }
  }
}

TEST_CASE("supervision: errors of configure and start are the plugin's state", "[plugin]") {
  for (auto* isolation : {"kernel", "process"}) {
    {
      TestNode node(misbehaving(isolation, "config = { mode = 'refuse' }\n"));
      CHECK(node.plugin("test.misbehaves").state() == State::FAILED);
      CHECK(node.plugin("test.misbehaves").reason() == "test.toml:10: mode 'refuse' is refused");
    }
    TestNode node(misbehaving(isolation, "config = { mode = 'throwInStart' }\n"));
    node.restartUntil("test.misbehaves", State::FAILED);
    CHECK(node.plugin("test.misbehaves").reason() ==
          "cannot start: it was told not to; 3 restarts within the window did not help; when the "
          "cause is gone: orch config reload");
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
  for (auto* isolation : {"kernel", "process"}) {
    TestNode node(misbehaving(isolation, "deadline = '50ms'\n"));
    auto call = node.begin(node.scheduler("test.misbehaves"), "hang");
    node.time.jump(1 * kj::HOURS);  // orchd was paused: that is nobody's fault
    node.time.advance(49 * kj::MILLISECONDS);
    CHECK_FALSE(call.poll(node.io.waitScope));
    node.time.advance(1 * kj::MILLISECONDS);
    auto answer = kj::mv(call).wait(node.io.waitScope);
    REQUIRE_FALSE(answer.ok());
    CHECK(answer.error().getType() == kj::Exception::Type::OVERLOADED);
    CHECK(plainText(answer.error()) ==
          "plugin 'test.misbehaves' has not answered 'open' within 50 ms");
  }
}

TEST_CASE("supervision: a start that is too slow is ended, and tried again without a limit",
          "[plugin]") {
  TestNode node(misbehaving("process", "config = { mode = 'hangInStart' }\n"),
                TestNode::Begin::STARTING);
  for (int attempt = 0; attempt < 6; ++attempt) {  // more than restart.limit
    node.until("its process", [&]() { return node.pidOf("test.misbehaves") != 0; });
    auto pid = node.pidOf("test.misbehaves");
    node.time.jump(1 * kj::HOURS);
    node.time.advance(START_DEADLINE - 1 * kj::MILLISECONDS);
    CHECK(node.pidOf("test.misbehaves") == pid);
    node.time.advance(1 * kj::MILLISECONDS);
    CHECK(node.plugin("test.misbehaves")
              .reason()
              .find("within 2m (startDeadline); starts again in ") != std::string::npos);
    node.restartUntil("test.misbehaves", State::STARTING);
  }
  node.starting.wait(node.io.waitScope);  // it holds nobody up
}

TEST_CASE("supervision: an admin of the cluster who comes too early waits for the plugins",
          "[plugin]") {
  TestNode node(misbehaving("process", "config = { mode = 'hangInStart' }\n"),
                TestNode::Begin::STARTING);
  capnp::MallocMessageBuilder message;
  auto peer = message.initRoot<schema::Peer>();
  peer.setRole(schema::Role::ADMIN);
  auto gateway = node.kernel.gatewayFor(peer);
  auto asked = attempt(gateway.versionRequest().send()).promise();
  CHECK_FALSE(asked.poll(node.io.waitScope));
  node.time.advance(30 * kj::SECONDS);
  auto refused = asked.wait(node.io.waitScope);
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(refused.message().cStr(), Catch::Contains("has no service 'admin' for other hosts"));
}

TEST_CASE("supervision: a start in the kernel that is too slow is waited for", "[plugin]") {
  TestNode node(misbehaving("kernel", "startDeadline = '10s'\nconfig = { mode = 'hangInStart' }\n"),
                TestNode::Begin::STARTING);
  node.until("the start", [&]() {
    node.time.advance(10 * kj::SECONDS);
    return !node.plugin("test.misbehaves").reason().empty();
  });
  CHECK(node.plugin("test.misbehaves")
            .reason()
            .find("within 10s (startDeadline); it is waited for") != std::string::npos);
  CHECK(node.plugin("test.misbehaves").state() == State::STARTING);
  node.starting.wait(node.io.waitScope);
}

TEST_CASE("supervision: a critical plugin whose start does not end in the kernel ends orchd",
          "[plugin]") {
  TestNode node(misbehaving("kernel", "critical = true\nconfig = { mode = 'hangInStart' }\n"),
                TestNode::Begin::STARTING);
  auto critical = node.kernel.plugins().onCriticalFailure();
  node.until("the failure", [&]() {
    node.time.advance(START_DEADLINE);
    return critical.poll(node.io.waitScope);
  });
  CHECK(critical.wait(node.io.waitScope) ==
        kj::str("plugin 'test.misbehaves' has failed: ",
                node.plugin("test.misbehaves").reason().c_str()));
  CHECK(node.plugin("test.misbehaves").reason().find("within 2m (startDeadline)") !=
        std::string::npos);
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

TEST_CASE("supervision: a plugin that waits for its file shows what is known of it", "[plugin]") {
  TestNode node("[[plugin]]\nid = 'scheduler.spraed'\nisolation = 'process'\n");
  CHECK(node.plugin("scheduler.spraed").state() == State::WAITING);
  CHECK(node.isolationOf("scheduler.spraed") == "process");
  CHECK(node.plugin("scheduler.spraed")
            .reason()
            .find("'; did you mean 'scheduler.spread'?; starts when it appears") !=
        std::string::npos);
}

TEST_CASE("supervision: a plugin without a file waits, and starts when it appears", "[plugin]") {
  TestNode node("[[plugin]]\nid = 'test.late'\n");
  CHECK(node.plugin("test.late").state() == State::WAITING);
  CHECK(node.plugin("test.late").reason().find("starts when it appears") != std::string::npos);
  CHECK(node.isolationOf("test.late") == "");
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::filesystem::copy(TEST_PLUGINS "/test.misbehaves.so",
                        node.folder.sub("plugins/test.late.so").cStr());
  node.kernel.plugins().filesChanged();
  node.waitFor("test.late",
               State::FAILED);  // it is another plugin: read, checked and refused by name
  CHECK(node.plugin("test.late").reason().find("is 'test.misbehaves', not 'test.late'") !=
        std::string::npos);
}

// The reasons of all `plugin.waiting` events.
class WaitReasons final : public schema::EventSink::Server {
 public:
  explicit WaitReasons(std::vector<std::string>& reasons) : reasons(reasons) {}
  kj::Promise<void> events(EventsContext context) override {
    for (auto event : context.getParams().getEvents()) {
      for (auto pair : event.getAttributes()) reasons.emplace_back(pair.getValue().cStr());
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<std::string>& reasons;
};

TEST_CASE(
    "supervision: one that starts and dies again waits longer each time, and the signal is "
    "told",
    "[plugin]") {
  TestNode node(misbehaving("process"));
  std::vector<std::string> reasons;
  auto watch = node.service().eventsRequest();
  watch.setFollow(true);
  watch.initTopics(1).set(0, "plugin.waiting");
  watch.setSink(kj::heap<WaitReasons>(reasons));
  auto watching = watch.send().ignoreResult().eagerlyEvaluate(nullptr);
  auto client = node.scheduler("test.misbehaves");
  for (size_t crash = 1; crash <= 3; ++crash) {
    node.call(client, "crash");
    node.until("the event of the crash", [&]() { return reasons.size() == crash; });
    node.restartUntil("test.misbehaves", State::RUNNING);
  }
  std::string died = "its process was ended by signal 9 (Killed); starts again in ";
  CHECK(reasons == std::vector<std::string>{died + "1 ms", died + "2 ms", died + "4 ms"});
}

TEST_CASE("supervision: a process that hangs is killed and started again", "[plugin]") {
  TestNode node(misbehaving("process"));
  auto client = node.scheduler("test.misbehaves");
  auto pid = node.pidOf("test.misbehaves");
  // One that only lets calls wait still answers a ping.
  for (int i = 0; i < 3; ++i) {
    for (uint32_t n = 0; n < rpc::CallStats::LATE_CALLS; ++n) {
      CHECK_FALSE(node.callInVain(client, "hang").ok());
    }
    CHECK(node.call(client, "n1").ok());  // the ping's answer has come before this one's
  }
  CHECK(node.pidOf("test.misbehaves") == pid);
  REQUIRE(kill(pid, SIGSTOP) == 0);
  for (uint32_t i = 0; i < rpc::CallStats::LATE_CALLS; ++i) {
    auto answer = node.callInVain(client, "n1");
    REQUIRE_FALSE(answer.ok());
    CHECK(answer.error().getType() == kj::Exception::Type::OVERLOADED);
  }
  node.time.advance(DEADLINE);  // of the ping
  CHECK(node.plugin("test.misbehaves").reason().find("nor a ping within") != std::string::npos);
  node.restartUntil("test.misbehaves", State::RUNNING);
  CHECK(node.pidOf("test.misbehaves") != pid);
  CHECK(node.call(client, "n1").ok());
}

// A plugin file of another name that requires another plugin.
void putPlugin(const TestNode& node, const std::string& name, const std::string& required) {
  auto content = pluginContent();
  auto descriptor = content.find("ORCHPLG1");
  auto put = [&](size_t offset, const std::string& text) {
    std::string padded = text + std::string(11 - std::min<size_t>(11, text.size()), '\0');
    content.replace(descriptor + offset, padded.size(), padded);
  };
  put(offsetof(PluginDescriptor, name), name);
  put(offsetof(PluginDescriptor, requires_), required);
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::ofstream(node.folder.sub("plugins/").cStr() + ("test." + name + ".so"), std::ios::binary)
      << content;
}

TEST_CASE(
    "supervision: the first start is over when those that waited for others have had their turn",
    "[plugin]") {
  auto entry = [](const char* id) {
    return std::string("[[plugin]]\nid = '") + id + "'\n" + FINDS_SDK;
  };
  auto both = entry("test.one") + entry("test.two");
  TestNode node(both);
  putPlugin(node, "one", "test.three");
  putPlugin(node, "two", "test.one");
  putPlugin(node, "three", "");
  node.kernel.plugins().filesChanged();
  node.waitForReason("test.two", "needs 'test.one'");
  node.waitForReason("test.one", "needs 'test.three'");
  node.write(both + entry("test.three"));
  node.kernel.reload().wait(node.io.waitScope);
  for (auto id : {"test.three", "test.one", "test.two"}) {
    CHECK(node.plugin(id).state() == State::RUNNING);
  }
}

TEST_CASE("supervision: plugins that need each other in a circle are refused by name", "[plugin]") {
  TestNode node(
      "[[plugin]]\nid = 'test.one'\n[[plugin]]\nid = 'test.two'\n"
      "[[plugin]]\nid = 'test.three'\n");
  putPlugin(node, "one", "test.two");
  putPlugin(node, "two", "test.one");
  putPlugin(node, "three", "test.two");
  node.kernel.plugins().filesChanged();
  node.waitFor("test.one", State::FAILED);
  node.waitFor("test.two", State::FAILED);
  CHECK(node.plugin("test.one").reason() ==
        "it needs itself in a circle: test.one → test.two → test.one; take one of them out of the "
        "manifest");
  node.waitForReason("test.three", "needs");
  CHECK(node.plugin("test.three").reason() == "needs 'test.two', which does not run");
}

}  // namespace
}  // namespace orch
