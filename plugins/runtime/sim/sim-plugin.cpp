#include "sim-plugin.h"

#include "orch/fail.h"
#include "sim-program.h"

namespace orch::runtime::sim {
namespace {

class Service final : public schema::Runtime::Server {
 public:
  Service(Env& env, SimRuntime& runtime, Host& host) : env(env), runtime(runtime), host(host) {}

  kj::Promise<void> info(InfoContext context) override {
    auto results = context.getResults();
    results.setName("sim");
    results.setVersion("1.0.0");
    results.setUsesImages(false);
    results.setCgroups("none");
    return kj::READY_NOW;
  }
  kj::Promise<void> create(CreateContext context) override {
    return runtime.whileAlive(doCreate(context));
  }
  kj::Promise<void> start(StartContext context) override {
    return runtime.whileAlive(doStart(context));
  }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return runtime.whileAlive(doWait(context));
  }
  kj::Promise<void> stop(StopContext context) override {
    return runtime.whileAlive(doStop(context));
  }
  kj::Promise<void> remove(RemoveContext context) override {
    runtime.remove(context.getParams().getId());
    return kj::READY_NOW;
  }
  kj::Promise<void> list(ListContext context) override {
    auto all = runtime.list();
    auto results = context.getResults().initContainers(all.size());
    for (uint32_t i = 0; i < results.size(); ++i) all[i]->describe(results[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    return runtime.whileAlive(runtime.logs(kj::str(params.getId()), params.getOptions(),
                                           params.getSink(), host.node().id));
  }
  kj::Promise<void> volumes(VolumesContext) override { return kj::READY_NOW; }
  kj::Promise<void> removeVolume(RemoveVolumeContext) override { return kj::READY_NOW; }
  kj::Promise<void> pruneVolumes(PruneVolumesContext) override { return kj::READY_NOW; }
  kj::Promise<void> run(RunContext context) override {
    context.allowCancellation();
    return runtime.whileAlive(doRun(context));
  }
  kj::Promise<void> usage(UsageContext context) override {
    runtime.usage(context.getParams().getIds(), context.getResults());
    return kj::READY_NOW;
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    auto container = runtime.runningOne(context.getParams().getId());
    auto one = context.getResults().initProcesses(1)[0];
    one.setPid(1);
    one.setUser("root");
    one.setCommand(kj::str("simulated ", container->taskName.c_str()));
    return kj::READY_NOW;
  }
  kj::Promise<void> attach(AttachContext context) override {
    auto params = context.getParams();
    auto container = runtime.runningOne(params.getId());
    auto results = context.getResults();
    results.setTerminal(container->hasTerminal);
    results.setTakesInput(container->hasTerminal || container->isInteractive);
    results.setRunning(attachTo(env, kj::mv(container), params.getInput(), params.getOutput()));
    return kj::READY_NOW;
  }
  kj::Promise<void> exec(ExecContext context) override {
    auto params = context.getParams();
    context.getResults().setRunning(
        runProgram(runtime.runningOne(params.getId()), params.getProgram(), params.getOutput()));
    return kj::READY_NOW;
  }

 private:
  Task<void> doCreate(CreateContext context) {
    auto container = co_await runtime.create(context.getParams().getRequest());
    container->describe(context.getResults().initContainer());
  }
  Task<void> doStart(StartContext context) {
    auto container = co_await runtime.start(kj::str(context.getParams().getId()));
    container->describe(context.getResults().initContainer());
  }
  Task<void> doWait(WaitContext context) {
    auto container = co_await runtime.wait(kj::str(context.getParams().getId()));
    container->describeExit(context.getResults().initExit());
  }
  Task<void> doStop(StopContext context) {
    auto params = context.getParams();
    auto container = co_await runtime.stop(kj::str(params.getId()), kj::str(params.getSignal()),
                                           params.getGraceMs());
    container->describeExit(context.getResults().initExit());
  }
  Task<void> doRun(RunContext context) {
    auto params = context.getParams();
    std::vector<std::string> command;
    for (auto word : params.getCommand()) command.emplace_back(word.cStr());
    auto result = co_await runtime.run(kj::str(params.getId()), kj::mv(command),
                                       params.getTimeoutMs() * kj::MILLISECONDS);
    auto results = context.getResults();
    results.setExitCode(result.exitCode);
    results.setTimedOut(result.timedOut);
    auto& output = result.output;
    size_t kept = std::min<size_t>(output.size(), params.getMaxOutputBytes());
    results.setOutput(kj::StringPtr(output.c_str()).slice(output.size() - kept).asBytes());
  }

  Env& env;
  SimRuntime& runtime;
  Host& host;
};

}  // namespace

SimPlugin::SimPlugin(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      runtime(env, settings.getCreateDelayMs() * kj::MILLISECONDS,
              settings.getStartDelayMs() * kj::MILLISECONDS) {}

Task<Services> SimPlugin::start() {
  Services services;
  services.add(host.node().instance,
               schema::Runtime::Client(kj::heap<Service>(env, runtime, host)));
  co_return kj::mv(services);
}

}  // namespace orch::runtime::sim
