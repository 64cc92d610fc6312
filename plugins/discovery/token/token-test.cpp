// The promises of the kind, kept by the plugin's own file against a hub as classic's was.
#include <catch2/catch.hpp>

#include <fstream>

#include "config.capnp.h"
#include "http/testing/certificates.h"
#include "lib/testing/localhost-certificate.h"
#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"
#include "test-hub.h"

namespace orch::discovery::token {
namespace {

using Addresses = std::vector<std::string>;

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(kj::AsyncIoContext& io, Env& env, testing::Isolation isolation)
      : env(env),
        scope(io.waitScope),
        hub(io),
        module(env, ORCH_MODULE, isolation, scope),
        host("/nowhere", "/nowhere", "discovery.token") {
    put(present());
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    settings.setUri(hub.uri().c_str());
    settings.setPollMs(100);
    host.configure(module.plugin(), settings.asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.token", scope);
  }
  kj::WaitScope& waitScope() override { return scope; }
  schema::Discovery::Client backend() override { return service; }
  Addresses present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    testing::until(env, scope, what, kj::mv(reached));
  }
  bool writable() override { return true; }
  bool changes() override { return true; }
  void put(const Addresses& all) override {
    hub.status = 200;
    hub.entries = all;
  }
  void damage() override { hub.status = 500; }

  Env& env;
  kj::WaitScope& scope;
  TestHub hub;
  testing::PluginModule module;
  testing::TestHost host;
  schema::Discovery::Client service = nullptr;
};

TEST_CASE("token: keeps the promises of discovery in both isolations", "[discovery]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(io, *env, isolation);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

// The plugin in this process, whose timers the test moves.
struct Held {
  explicit Held(std::string uri, kj::AsyncIoContext& io, Env& env, uint64_t timeoutMs = 10'000,
                std::string caFile = "")
      : scope(io.waitScope),
        env(env),
        time(env, scope),
        module(time, ORCH_MODULE, testing::Isolation::KERNEL, scope),
        host("/nowhere", "/nowhere", "discovery.token") {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    settings.setUri(uri.c_str());
    settings.setTimeoutMs(timeoutMs);
    settings.setCaFile(caFile.c_str());
    host.configure(module.plugin(), settings.asReader(), scope);
    service = host.start<schema::Discovery>(module.plugin(), "discovery.token", scope);
  }
  kj::Promise<void> watch(conformance::SeenByWatch& seen) {
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
  void until(kj::StringPtr what, kj::Function<bool()> reached) {
    testing::until(env, scope, what, kj::mv(reached));
  }
  // The plugin's time passes in steps of a second, in each of which the sockets get their turn;
  // what they have to do for the last one takes as long as it takes.
  void passUntil(kj::StringPtr what, int seconds, kj::Function<bool()> reached) {
    for (int i = 0; i < seconds && !reached(); ++i) {
      time.advance(1 * kj::SECONDS);
      env.timer().afterDelay(10 * kj::MILLISECONDS).wait(scope);
    }
    until(what, kj::mv(reached));
  }
  kj::WaitScope& scope;
  Env& env;
  testing::HeldTime time;
  testing::PluginModule module;
  testing::TestHost host;
  schema::Discovery::Client service = nullptr;
};

TEST_CASE("token: speaks classic's protocol", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  TestHub hub(io);
  Held plugin(hub.uri(), io, *env);
  plugin.until("the first question", [&] { return hub.requests.size() == 1; });
  CHECK(hub.requests[0] == "GET /v1/clusters/abc?details=1");
  auto request = plugin.service.registerRequest();
  request.setTtlMs(180'000);
  request.initEntry().setAddress("10.0.0.1:2375");
  request.send().wait(io.waitScope);
  CHECK(hub.requests[1] == "POST /v1/clusters/abc?ttl=180 10.0.0.1:2375");
  plugin.until("the question after it", [&] { return hub.requests.size() == 3; });
  auto create = plugin.service.createRequest();
  create.setHub(hub.hub().c_str());
  auto made = create.send().wait(io.waitScope);
  CHECK(made.getUri() == kj::str(hub.hub().c_str(), "/v1/0123456789abcdef"));
  CHECK(hub.requests.back() == "POST /v1/clusters");
}

TEST_CASE("token: asks at every poll, and sooner after a failure", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  TestHub hub(io);
  hub.entries = {"10.0.0.1:1"};
  Held plugin(hub.uri(), io, *env, 600'000);
  conformance::SeenByWatch seen;
  auto watching = plugin.watch(seen);
  plugin.until("the list", [&] { return seen.lists.size() == 1; });
  CHECK(hub.requests.size() == 1);
  plugin.time.advance(53 * kj::SECONDS);  // 60 s less a tenth is the least
  CHECK(hub.requests.size() == 1);
  hub.raw = "<html>";
  plugin.passUntil("the next question", 13, [&] { return hub.requests.size() > 1; });
  plugin.until("the failure", [&] { return seen.failures.size() == 1; });
  CHECK(seen.failures[0].find("answers what is no list of addresses") != std::string::npos);
  auto asked = hub.requests.size();
  hub.raw = "";
  hub.status = 404;
  plugin.passUntil("a question soon after", 50, [&] { return hub.requests.size() > asked; });
  plugin.until("the unknown token", [&] { return seen.failures.size() == 2; });
  CHECK(seen.failures[1].find("it does not know this token") != std::string::npos);
  CHECK(seen.failures[1].find("abc") == std::string::npos);  // who reads logs learns no token
  hub.status = 200;
  hub.entries = {"10.0.0.2:1"};
  plugin.passUntil("the new list", 60, [&] { return seen.lists.size() == 2; });
  CHECK(seen.lists[1] == Addresses{"10.0.0.2:1"});
}

TEST_CASE("token: over HTTPS it trusts whom it was told to, or the system, and nobody else",
          "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  TestHub hub(io, true);
  hub.entries = {"10.0.0.1:1"};
  testing::TestFolder folder("discovery-token-tls");
  auto file = std::string(folder.sub("ca.pem").cStr());
  http::Certificates made(*env, io.waitScope, "discovery-token-tls-other");
  std::ofstream(file) << std::ifstream(made.file("stranger.pem")).rdbuf() << LOCALHOST_CERTIFICATE;
  conformance::SeenByWatch trusted, untrusted, missing;
  Held trusting(hub.uri(), io, *env, 600'000, file);
  auto first = trusting.watch(trusted);
  trusting.until("the list", [&] { return trusted.lists.size() == 1; });
  CHECK(trusted.lists[0] == Addresses{"10.0.0.1:1"});
  Held wary(hub.uri(), io, *env, 600'000);
  auto second = wary.watch(untrusted);
  wary.until("the failure", [&] { return untrusted.failures.size() == 1; });
  CHECK(untrusted.failures[0].starts_with("the hub 'https://localhost:"));
  CHECK(untrusted.lists.empty());
  Held lost(hub.uri(), io, *env, 600'000, file + ".none");
  auto third = lost.watch(missing);
  lost.until("the failure", [&] { return missing.failures.size() == 1; });
  CHECK(missing.failures[0].ends_with("caFile: cannot read '" + file + ".none'"));
  CHECK(hub.requests.size() == 1);
}

TEST_CASE("token: a hub that does not answer in time has failed", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  TestHub hub(io);
  hub.hangs = true;
  Held plugin(hub.uri(), io, *env, 10'000);
  conformance::SeenByWatch seen;
  auto watching = plugin.watch(seen);
  plugin.until("the question", [&] { return hub.requests.size() == 1; });
  plugin.time.advance(9 * kj::SECONDS);
  CHECK(seen.failures.empty());
  plugin.time.advance(1 * kj::SECONDS);
  plugin.until("the failure", [&] { return seen.failures.size() == 1; });
  CHECK(seen.failures[0].ends_with("does not answer: it takes longer than timeoutMs"));
  CHECK(seen.lists.empty());
}

TEST_CASE("token: without a token it makes one and does nothing else", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  TestHub hub(io);
  Held plugin("", io, *env);
  auto create = plugin.service.createRequest();
  create.setHub(kj::str(hub.hub().c_str(), "/"));
  CHECK(create.send().wait(io.waitScope).getUri().endsWith("/v1/0123456789abcdef"));
  conformance::SeenByWatch seen;
  auto ask = plugin.service.watchRequest();
  ask.setSink(conformance::keepSeen(seen));
  auto watched = attempt(ask.send()).promise().wait(io.waitScope);
  REQUIRE(!watched.ok());
  CHECK(watched.error().getType() == kj::Exception::Type::UNIMPLEMENTED);
  auto problem = [&](kj::StringPtr at) {
    auto request = plugin.service.createRequest();
    request.setHub(at);
    auto outcome = attempt(request.send()).promise().wait(io.waitScope);
    return outcome.ok() ? std::string() : std::string(outcome.message().cStr());
  };
  CHECK(problem("http://a").starts_with("usage: 'http://a' is no hub"));
  hub.raw = "not a token";
  CHECK(problem(hub.hub().c_str()).ends_with("is no hub: what it answers is no token"));
  CHECK(hub.requests.size() == 2);
}

}  // namespace
}  // namespace orch::discovery::token
