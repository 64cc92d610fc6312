#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "orch/conformance/runtime-conformance.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"
#include "sim-plugin.h"

namespace orch::runtime::sim {
namespace {

kj::Own<PluginInstance> make(Env& env, Host& host, capnp::AnyPointer::Reader settings) {
  return kj::heap<SimPlugin>(env, host, settings.getAs<Config>());
}

class SimSubject final : public conformance::RuntimeSubject {
 public:
  SimSubject()
      : world(1), host("/data", "/run", "runtime.sim"), plugin(newPlugin(world.env(), &make)) {
    capnp::MallocMessageBuilder settings;
    host.configure(plugin, settings.initRoot<Config>().asReader(), waitScope());
    service = host.start<schema::Runtime>(plugin, "runtime.sim", waitScope());
  }
  kj::WaitScope& waitScope() override { return world.waitScope(); }
  kj::Timer& timer() override { return world.env().timer(); }
  schema::Runtime::Client runtime() override { return KJ_ASSERT_NONNULL(service); }

  void script(schema::ContainerRequest::Builder request,
              const conformance::Behaviour& behaviour) override {
    std::vector<std::string> env;
    auto joined = [](const std::vector<std::string>& lines) {
      std::string text;
      for (auto& line : lines) text += (&line == &lines[0] ? "" : "\n") + line;
      return text;
    };
    if (!behaviour.output.empty()) env.push_back("SIM_OUTPUT=" + joined(behaviour.output));
    if (!behaviour.errors.empty()) env.push_back("SIM_ERRORS=" + joined(behaviour.errors));
    request.getSpec().setInteractive(behaviour.echoes);
    if (!behaviour.stays && !behaviour.echoes) env.push_back("SIM_RUN=0");
    if (behaviour.ignoresTerm) env.push_back("SIM_IGNORE_TERM=1");
    env.push_back("SIM_EXIT=" + std::to_string(behaviour.exitCode));
    auto list = request.getSpec().initEnv(env.size());
    for (uint32_t i = 0; i < env.size(); ++i) list.set(i, env[i].c_str());
  }
  std::vector<std::string> command(const conformance::Command& command) override {
    if (command.missing) return {"missing"};
    if (command.stays) return {"stay"};
    if (command.floods) return {"flood"};
    if (command.echoes) return {"echo", std::to_string(command.exitCode)};
    return {"exit", std::to_string(command.exitCode), command.output, command.errors};
  }
  kj::StringPtr breakRequest(schema::ContainerRequest::Builder request) override {
    request.getSpec().initEnv(1).set(0, "SIM_FAIL_CREATE=the disk is full");
    return "cannot create container 'c1': the disk is full";
  }
  testing::VirtualWorld& time() { return world; }

  capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> request(
      kj::StringPtr id, std::initializer_list<kj::StringPtr> env) {
    auto call = runtime().createRequest();
    call.initRequest().setId(id);
    auto list = call.getRequest().getSpec().initEnv(env.size());
    for (uint32_t i = 0; i < env.size(); ++i) list.set(i, env.begin()[i]);
    return call;
  }

 private:
  testing::VirtualWorld world;
  testing::TestHost host;
  schema::Plugin::Client plugin;
  kj::Maybe<schema::Runtime::Client> service;
};

TEST_CASE("sim: keeps the contract of a runtime", "[runtime]") {
  SimSubject subject;
  conformance::runtimeContract(subject);
}

TEST_CASE("sim: a life takes exactly as long as it says", "[runtime]") {
  SimSubject subject;
  auto& scope = subject.waitScope();
  auto begin = subject.timer().now();
  subject
      .request("c1", {"SIM_CREATE_DELAY=20ms", "SIM_START_DELAY=5ms", "SIM_RUN=3s", "SIM_EXIT=4"})
      .send()
      .wait(scope);
  CHECK(subject.timer().now() - begin == 20 * kj::MILLISECONDS);
  auto start = subject.runtime().startRequest();
  start.setId("c1");
  start.send().wait(scope);
  CHECK(subject.timer().now() - begin == 25 * kj::MILLISECONDS);
  auto wait = subject.runtime().waitRequest();
  wait.setId("c1");
  CHECK(wait.send().wait(scope).getExit().getCode() == 4);
  CHECK(subject.timer().now() - begin == 3025 * kj::MILLISECONDS);
}

TEST_CASE("sim: a container uses what its script says", "[runtime]") {
  SimSubject subject;
  auto& scope = subject.waitScope();
  auto create = subject.request("c1", {"SIM_CPU=1.5", "SIM_MEMORY=1048576"});
  create.getRequest().getResources().setLimitMemoryBytes(4 << 20);
  create.send().wait(scope);
  auto start = subject.runtime().startRequest();
  start.setId("c1");
  start.send().wait(scope);
  subject.timer().afterDelay(2 * kj::SECONDS).wait(scope);
  auto asked = subject.runtime().usageRequest();
  asked.initIds(1).set(0, "c1");
  auto answer = asked.send().wait(scope);
  REQUIRE(answer.getUsages().size() == 1);
  auto usage = answer.getUsages()[0];
  CHECK(usage.getCpuNs() == 3'000'000'000);
  CHECK(usage.getMemoryBytes() == 1 << 20);
  CHECK(usage.getMemoryLimitBytes() == 4 << 20);
  CHECK(usage.getReceivedBytes() == -1);
}

TEST_CASE("sim: a wrong script is refused by name", "[runtime]") {
  SimSubject subject;
  auto error = [&](kj::StringPtr variable) {
    return conformance::errorText(subject.request("c1", {variable}).send().ignoreResult(),
                                  subject.waitScope());
  };
  CHECK(error("SIM_RUN=soon") == "SIM_RUN=soon is no duration: use 250ms, 5s, 2m or 0");
  CHECK(error("SIM_EXIT=256") == "SIM_EXIT=256 is no exit code: use 0 to 255");
  CHECK(error("SIM_CPU=much") == "SIM_CPU=much is no number of cores: use 0.5 or 2");
  CHECK(error("SIM_MEMORY=1k") == "SIM_MEMORY=1k is no number of bytes: use 1048576");
  CHECK(error("SIM_START_DELAY=-1s") ==
        "SIM_START_DELAY=-1s is no duration: use 250ms, 5s, 2m or 0");
}

TEST_CASE("sim: a start can be made to fail", "[runtime]") {
  SimSubject subject;
  subject.request("c1", {"SIM_FAIL_START=no such program"}).send().wait(subject.waitScope());
  auto start = subject.runtime().startRequest();
  start.setId("c1");
  CHECK(conformance::errorText(start.send().ignoreResult(), subject.waitScope()) ==
        "cannot start container 'c1': no such program");
}

}  // namespace
}  // namespace orch::runtime::sim
