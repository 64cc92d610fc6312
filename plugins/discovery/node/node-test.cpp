// The list of the settings, and the promises of the kind kept by the plugin's own file.
#include <catch2/catch.hpp>

#include "node-list.h"
#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery::node {
namespace {

std::string listOf(const char* uri, std::vector<const char*> entries = {}) {
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setUri(uri);
  auto list = settings.initEntries(entries.size());
  for (uint32_t i = 0; i < entries.size(); ++i) list.set(i, entries[i]);
  auto parsed = attemptNow([&] { return addressesOf(settings.asReader()); });
  if (!parsed.ok()) return parsed.message().cStr();
  std::string all;
  for (auto& address : parsed.value()) all += (all.empty() ? "" : " ") + address;
  return all;
}

TEST_CASE("node: the settings name hosts as a URI, as a bare list and as entries", "[discovery]") {
  CHECK(listOf("node://b:1, a:1") == "a:1 b:1");
  CHECK(listOf("nodes://a:1,b:[1:2],") == "a:1 b:1 b:2");
  CHECK(listOf("a:1") == "a:1");
  CHECK(listOf("", {"a:1", "10.0.0.[1:2]:5"}) == "10.0.0.1:5 10.0.0.2:5 a:1");
  CHECK(listOf("node://a:1", {"a:1", "b:1"}) == "a:1 b:1");
  CHECK(listOf("file:///a").starts_with("uri is 'file:///a'; accepted: node://"));
  CHECK(listOf("node://a").starts_with("uri: 'a' is no address"));
  CHECK(listOf("node://a:1", {"b"}).starts_with("entries: 'b' is no address"));
  CHECK(listOf("").starts_with("uri and entries name no host"));
  CHECK(listOf("node://,").starts_with("uri and entries name no host"));
}

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(Env& env, testing::Isolation isolation, kj::WaitScope& scope)
      : env(env),
        scope(scope),
        module(env, ORCH_MODULE, isolation, scope),
        host("/nowhere", "/nowhere", "discovery.node") {
    capnp::MallocMessageBuilder settings;
    settings.initRoot<Config>().setUri("node://10.0.0.2:1,10.0.0.1:1");
    host.configure(module.plugin(), settings.getRoot<Config>().asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.node", scope);
  }
  kj::WaitScope& waitScope() override { return scope; }
  schema::Discovery::Client backend() override { return service; }
  std::vector<std::string> present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    testing::until(env, scope, what, kj::mv(reached));
  }

 private:
  Env& env;
  kj::WaitScope& scope;
  testing::PluginModule module;
  testing::TestHost host;
  schema::Discovery::Client service = nullptr;
};

TEST_CASE("node: keeps the promises of discovery in both isolations", "[discovery]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(*env, isolation, io.waitScope);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

}  // namespace
}  // namespace orch::discovery::node
