// The promises of the kind, kept by the plugin's own file, and files as people write them.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "config.capnp.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery::file {
namespace {

using Addresses = std::vector<std::string>;

void writeFile(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
std::string linesOf(const Addresses& all) {
  std::string text = "# hosts\n";
  for (auto& one : all) text += one + "\n";
  return text;
}

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(Env& env, testing::Isolation isolation, kj::WaitScope& scope)
      : env(env),
        scope(scope),
        module(env, ORCH_MODULE, isolation, scope),
        host("/nowhere", "/nowhere", "discovery.file"),
        path(folder.sub("hosts").cStr()) {
    put(present());
    capnp::MallocMessageBuilder settings;
    settings.initRoot<Config>().setUri(kj::str("file://", path.c_str()));
    host.configure(module.plugin(), settings.getRoot<Config>().asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.file", scope);
  }
  kj::WaitScope& waitScope() override { return scope; }
  schema::Discovery::Client backend() override { return service; }
  Addresses present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    testing::until(env, scope, what, kj::mv(reached));
  }
  bool changes() override { return true; }
  // By turns in place and by a rename.
  void put(const Addresses& all) override {
    inPlace = !inPlace;
    auto target = inPlace ? path : path + ".new";
    writeFile(target, linesOf(all));
    if (!inPlace) std::filesystem::rename(target, path);
  }
  void damage() override { writeFile(path, "10.0.0.1:1\nno address\n"); }

 private:
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder{"discovery-file"};
  testing::PluginModule module;
  testing::TestHost host;
  std::string path;
  bool inPlace = false;
  schema::Discovery::Client service = nullptr;
};

TEST_CASE("file: keeps the promises of discovery in both isolations", "[discovery]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(*env, isolation, io.waitScope);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

TEST_CASE("file: settings that are wrong are refused by key", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  for (auto uri : {"", "file://etc/hosts", "/etc/hosts", "token://a/v1/b"}) {
    INFO(uri);
    testing::PluginModule module(*env, ORCH_MODULE, testing::Isolation::KERNEL, io.waitScope);
    testing::TestHost host("/nowhere", "/nowhere", "discovery.file");
    capnp::MallocMessageBuilder settings;
    settings.initRoot<Config>().setUri(uri);
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] {
                   host.configure(module.plugin(), settings.getRoot<Config>().asReader(),
                                  io.waitScope);
                 })) {
      CHECK(std::string(error->getDescription().cStr()).find("uri: ") != std::string::npos);
    } else {
      FAIL("was accepted");
    }
  }
}

}  // namespace
}  // namespace orch::discovery::file
