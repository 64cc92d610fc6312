// The plugin's own file: what it refuses, and that it serves.
#include <catch2/catch.hpp>
#include <unistd.h>

#include "config.capnp.h"
#include "orch/attempt.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"
#include "test-client.h"

namespace orch::api::http {
namespace {

class SmallKernel final : public schema::Kernel::Server {
 public:
  kj::Promise<void> plugins(PluginsContext context) override {
    context.getResults().initPlugins(1)[0].setId("store.local");
    return kj::READY_NOW;
  }
};

TEST_CASE("plugin: settings that let in whom nobody meant are refused", "[api]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto problem = [&](kj::Function<void(Config::Builder)> change) {
    testing::TestFolder folder("api-http-settings");
    testing::PluginModule module(*env, ORCH_MODULE, testing::Isolation::KERNEL, io.waitScope);
    testing::TestHost host(folder.path(), folder.path(), "api.http");
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    change(settings);
    auto made =
        attemptNow([&] { host.configure(module.plugin(), settings.asReader(), io.waitScope); });
    return made.ok() ? std::string() : std::string(made.message().cStr());
  };
  CHECK(problem([](auto) {}) == "");
  CHECK(problem([](auto s) { s.setListen("[::1]:80"); }) == "");
  CHECK(problem([](auto s) { s.setListen("0.0.0.0:80"); }) ==
        "listen: '0.0.0.0:80' lets other hosts read everything; give a 'tokenFile', or say 'open = "
        "true'");
  CHECK(problem([](auto s) { s.setListen("10.0.0.1:80"); }).starts_with("listen: "));
  CHECK(problem([](auto s) {
          s.setListen("0.0.0.0:80");
          s.setOpen(true);
        }) == "");
  CHECK(problem([](auto s) {
          s.setListen("0.0.0.0:80");
          s.setTokenFile("/tokens");
        }) == "");
  CHECK(problem([](auto s) { s.setKeyFile("/key"); }).starts_with("certificateFile and keyFile"));
  CHECK(problem([](auto s) { s.initHosts(33); }) == "hosts: 33 are too many; at most 32");
}

TEST_CASE("plugin: in a process of its own it answers, and ends when it is told to", "[api]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::TestFolder folder("api-http-process");
  testing::PluginModule module(*env, ORCH_MODULE, testing::Isolation::PROCESS, io.waitScope);
  testing::TestHost host(folder.path(), folder.path(), "api.http");
  host.addService("kernel", schema::Kernel::Client(kj::heap<SmallKernel>()));
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  // Of this host alone, and of this test.
  auto pid = static_cast<unsigned>(getpid());
  auto address = kj::str("127.", 1 + (pid >> 16) % 250, ".", (pid >> 8) & 255, ".", pid & 255);
  settings.setListen(kj::str(address, ":8377"));
  host.configure(module.plugin(), settings.asReader(), io.waitScope);
  module.plugin().recoverRequest().send().wait(io.waitScope);
  module.plugin().startRequest().send().wait(io.waitScope);
  auto connect = env->network().parseAddress(address, 8377).wait(io.waitScope);
  TestClient client(io.waitScope, connect->connect().wait(io.waitScope));
  CHECK(client.send(get("/v1/plugins")).answer().find("\"id\":\"store.local\"") !=
        std::string::npos);
  module.plugin().stopRequest().send().wait(io.waitScope);
  CHECK(client.read() == "");
  auto again = attemptNow([&] { connect->connect().wait(io.waitScope); });
  CHECK_FALSE(again.ok());
}

}  // namespace
}  // namespace orch::api::http
