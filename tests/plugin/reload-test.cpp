#include <catch2/catch.hpp>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "orch/descriptor.h"
#include "orch/fail.h"
#include "test-node.h"

namespace orch {
namespace {

TEST_CASE("reload: a reload starts, stops and restarts what changed", "[plugin]") {
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

TEST_CASE("reload: a reload with a bad entry is refused as a whole", "[plugin]") {
  TestNode node(misbehaving("process", "critical = true\n"));
  auto pid = node.pidOf("test.misbehaves");
  struct Case {
    const char* rest;
    const char* problem;
  };
  auto file = kj::str(node.folder.sub("node.toml"));
  const Case cases[] = {
      {"critical = true\nconfig = { rooot = '/x' }\n",
       ":11: unknown key 'rooot' in the settings of 'test.misbehaves'; accepted: mode, pauseMs, "
       "names"},
      {"[[plugin]]\nid = 'scheduler.spread'\nfile = '/bin/true'\n",
       ":10: plugin file '/bin/true' is not an orch plugin: it has no section .orch.plugin"},
      {"file = '/no/such.so'\n",
       ":6: plugin 'test.misbehaves' runs, and its new entry has no file '/no/such.so'; put it "
       "there first"},
  };
  for (auto& bad : cases) {
    node.write("[[plugin]]\nid = 'scheduler.spread#new'\n" + misbehaving("process", bad.rest));
    // Two lines more than in the cases, for the plugin that would be new.
    auto outcome = attempt(node.kernel.reload()).wait(node.io.waitScope);
    REQUIRE_FALSE(outcome.ok());
    std::string text = plainText(outcome.error()).cStr();
    CHECK(text.rfind(std::string(file.cStr()) + ":", 0) == 0);
    std::string problem = strchr(bad.problem + 1, ':');
    CHECK(text.find(problem) != std::string::npos);
    CHECK(node.plugin("test.misbehaves").state() == State::RUNNING);
    CHECK(node.pidOf("test.misbehaves") == pid);
    CHECK(node.kernel.plugins().find("scheduler.spread#new") == nullptr);
  }
}

TEST_CASE("reload: if a plugin that ran does not start any more, all is as it was", "[plugin]") {
  TestNode node(misbehaving("process", "critical = true\n") +
                "[[plugin]]\nid = 'scheduler.spread'\n");
  auto critical = node.kernel.plugins().onCriticalFailure();
  node.write(misbehaving("process", "critical = true\nconfig = { mode = 'throwInStart' }\n") +
             "[[plugin]]\nid = 'scheduler.spread#new'\n");
  auto outcome = attempt(node.kernel.reload()).wait(node.io.waitScope);
  REQUIRE_FALSE(outcome.ok());
  CHECK(std::string(plainText(outcome.error()).cStr()) ==
        kj::str(node.folder.sub("node.toml"),
                ":11: plugin 'test.misbehaves' does not start as it stands here: cannot start: it "
                "was told not to; starts again in 1 ms. All runs on as before")
            .cStr());
  CHECK_FALSE(critical.poll(node.io.waitScope));
  CHECK(node.plugin("test.misbehaves").state() == State::RUNNING);
  CHECK(node.call(node.scheduler("test.misbehaves"), "n1").ok());
  CHECK(node.plugin("scheduler.spread").state() == State::RUNNING);
  CHECK(node.kernel.plugins().find("scheduler.spread#new") == nullptr);
  // What the manifest says is still another thing than what runs.
  node.write(misbehaving("process", "critical = true\nconfig = { pauseMs = 5 }\n"));
  auto result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied ==
        std::vector<std::string>{"scheduler.spread stopped", "test.misbehaves restarted"});
}

TEST_CASE("reload: a plugin in the kernel may be taken away while a call is in it", "[plugin]") {
  TestNode node(misbehaving("kernel"));
  auto client = node.scheduler("test.misbehaves");
  auto call = node.begin(client, "hang");
  node.write("");
  auto result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied == std::vector<std::string>{"test.misbehaves stopped"});
  auto answer = kj::mv(call).wait(node.io.waitScope);
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.error().getType() == kj::Exception::Type::DISCONNECTED);
  CHECK(node.call(client, "n1").error().getType() == kj::Exception::Type::DISCONNECTED);
  node.write(misbehaving("kernel"));
  node.kernel.reload().wait(node.io.waitScope);
  CHECK(node.call(client, "n1").ok());
}

TEST_CASE("reload: reloads wait for each other", "[plugin]") {
  TestNode node(misbehaving("process"));
  node.write(misbehaving("process", "config = { pauseMs = 5 }\n"));
  auto first = node.kernel.reload(), second = node.kernel.reload(), third = node.kernel.reload();
  auto one = kj::mv(first).wait(node.io.waitScope);
  CHECK(one.applied == std::vector<std::string>{"test.misbehaves restarted"});
  CHECK(kj::mv(second).wait(node.io.waitScope).applied.empty());
  CHECK(kj::mv(third).wait(node.io.waitScope).applied.empty());
  CHECK(node.plugin("test.misbehaves").state() == State::RUNNING);
}

TEST_CASE("reload: a reload applies the log level and names what else changed in [node]",
          "[plugin]") {
  TestNode node("[[plugin]]\nid = 'scheduler.spread'\n");
  node.write("eventLog = '2m'\nloopLimit = '9s'\n[[plugin]]\nid = 'scheduler.spread'\n");
  auto result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied.empty());
  CHECK(result.needRestart == std::vector<std::string>{"[node] eventLog", "[node] loopLimit"});
  std::ofstream(node.folder.sub("node.toml").cStr())
      << "[node]\nname = 'test'\ndata = '" << node.folder.sub("data").cStr() << "'\nrun = '"
      << node.folder.sub("run").cStr() << "'\nlogLevel = 'warn'\n"
      << "[[plugin]]\nid = 'scheduler.spread'\n";
  result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied == std::vector<std::string>{"[node] logLevel"});
  CHECK(node.kernel.manifest().node.logLevel == "warn");
}

TEST_CASE("reload: a file that is still being written is waited for", "[plugin]") {
  auto content = pluginContent();
  TestNode node("[[plugin]]\nid = 'test.late'\n");
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::string path = node.folder.sub("plugins/test.misbehaves.so").cStr();
  std::ofstream(path, std::ios::binary) << content.substr(0, content.size() / 2);
  node.write(misbehaving("process", FINDS_SDK));
  auto refused = attempt(node.kernel.reload()).wait(node.io.waitScope);
  CHECK_FALSE(refused.ok());
  std::ofstream(path, std::ios::binary) << content;
  node.kernel.reload().wait(node.io.waitScope);
  CHECK(node.plugin("test.misbehaves").state() == State::RUNNING);
}

// Installs the test's plugin with this version, as a package would.
void install(const TestNode& node, kj::StringPtr version) {
  auto content = pluginContent();
  content.replace(content.find("ORCHPLG1") + offsetof(PluginDescriptor, pluginVersion),
                  version.size(), version.cStr());
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::ofstream(node.folder.sub("new").cStr(), std::ios::binary) << content;
  std::filesystem::rename(node.folder.sub("new").cStr(),
                          node.folder.sub("plugins/test.misbehaves.so").cStr());
}
std::string versionOf(TestNode& node) {
  capnp::MallocMessageBuilder message;
  auto status = message.initRoot<schema::PluginStatus>();
  node.plugin("test.misbehaves").describe(status);
  return status.getVersion().cStr();
}

TEST_CASE("reload: a plugin that was built anew is taken up, or needs a restart of orchd",
          "[plugin]") {
  TestNode node("[[plugin]]\nid = 'scheduler.spread'\n");
  install(node, "1.0.1");
  node.write(misbehaving("process", FINDS_SDK));
  node.kernel.reload().wait(node.io.waitScope);
  REQUIRE(versionOf(node) == "1.0.1");
  CHECK(node.kernel.reload().wait(node.io.waitScope).applied.empty());
  install(node, "1.0.2");
  auto result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied == std::vector<std::string>{"test.misbehaves restarted"});
  CHECK(versionOf(node) == "1.0.2");
  CHECK(node.call(node.scheduler("test.misbehaves"), "n1").ok());
  install(node, "1.0.3");
  node.call(node.scheduler("test.misbehaves"), "crash");
  node.waitFor("test.misbehaves", State::WAITING);
  node.restartUntil("test.misbehaves", State::RUNNING);
  CHECK(versionOf(node) == "1.0.3");

  node.write(misbehaving("kernel"));
  node.kernel.reload().wait(node.io.waitScope);
  CHECK(node.kernel.reload().wait(node.io.waitScope).needRestart.empty());
  install(node, "1.0.4");
  result = node.kernel.reload().wait(node.io.waitScope);
  CHECK(result.applied.empty());
  CHECK(result.needRestart ==
        std::vector<std::string>{"test.misbehaves (its file is another one)"});
  CHECK(versionOf(node) == "1.0.3");
}

TEST_CASE("reload: a file that is half there at the start is looked at again", "[plugin]") {
  auto content = pluginContent();
  TestNode node(std::string("[[plugin]]\nid = 'test.late'\n") + FINDS_SDK);
  std::filesystem::create_directories(node.folder.sub("plugins").cStr());
  std::string path = node.folder.sub("plugins/test.late.so").cStr();
  std::ofstream(path, std::ios::binary) << content.substr(0, content.size() / 2);
  node.kernel.plugins().filesChanged();
  node.waitForReason("test.late", "is truncated");
  CHECK(node.plugin("test.late").state() == State::WAITING);
  auto named = content;
  named.replace(named.find("ORCHPLG1") + offsetof(PluginDescriptor, name), 11, "late\0\0\0\0\0\0",
                11);
  std::ofstream(path, std::ios::binary) << named;
  node.kernel.plugins().filesChanged();
  node.waitFor("test.late", State::RUNNING);
  CHECK(node.plugin("test.late").isolated());
}

}  // namespace
}  // namespace orch
