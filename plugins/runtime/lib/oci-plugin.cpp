#include "oci-plugin.h"

#include "orch/fail.h"

namespace orch::runtime {

namespace {

// Words of an answer that the caller may keep for as long as a container runs: without a size it
// would take 8 KiB.
capnp::MessageSize sizeOf(const Container& container) {
  uint64_t words = 32 + container.id.size() / 8;
  for (auto& label : container.labels) {
    words += 8 + (label.first.size() + label.second.size()) / 8;
  }
  return {words, 0};
}
constexpr capnp::MessageSize EXIT_SIZE{24, 0};
constexpr capnp::MessageSize NOTHING{4, 0};

void fill(capnp::List<capnp::Text>::Builder to, const std::vector<std::string>& texts) {
  for (uint32_t i = 0; i < to.size(); ++i) to.set(i, texts[i].c_str());
}

// The calls of sdk/schema/runtime.capnp onto an OciRuntime. The plugin outlives it.
class Service final : public schema::Runtime::Server {
 public:
  explicit Service(OciRuntime& runtime) : runtime(runtime) {}

  kj::Promise<void> info(InfoContext context) override {
    auto results = context.getResults(capnp::MessageSize{64, 0});
    results.setName(runtime.name());
    results.setVersion(runtime.version());
    results.setUsesImages(true);
    results.setCgroups(runtime.cgroups());
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
    context.getResults(NOTHING);
    return runtime.whileAlive(runtime.remove(kj::str(context.getParams().getId())));
  }
  kj::Promise<void> list(ListContext context) override {
    auto all = runtime.list();
    capnp::MessageSize size{8, 0};
    for (auto& container : all) size.wordCount += sizeOf(*container).wordCount;
    auto results = context.getResults(size).initContainers(all.size());
    for (uint32_t i = 0; i < results.size(); ++i) all[i]->describe(results[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    return runtime.whileAlive(
        runtime.logs(kj::str(params.getId()), params.getOptions(), params.getSink()));
  }
  kj::Promise<void> volumes(VolumesContext context) override {
    return runtime.whileAlive(doVolumes(context));
  }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    return runtime.whileAlive(doRemoveVolume(context));
  }
  kj::Promise<void> pruneVolumes(PruneVolumesContext context) override {
    return runtime.whileAlive(doPruneVolumes(context));
  }
  kj::Promise<void> run(RunContext context) override {
    context.allowCancellation();
    return runtime.whileAlive(doRun(context));
  }
  kj::Promise<void> exec(ExecContext context) override {
    context.allowCancellation();
    return runtime.whileAlive(doExec(context));
  }
  kj::Promise<void> attach(AttachContext context) override {
    auto attached = runtime.attach(context.getParams());
    auto results = context.getResults(capnp::MessageSize{NOTHING.wordCount, 1});
    results.setRunning(kj::mv(attached.running));
    results.setTerminal(attached.terminal);
    results.setTakesInput(attached.takesInput);
    return kj::READY_NOW;
  }
  kj::Promise<void> usage(UsageContext context) override {
    return runtime.whileAlive(doUsage(context));
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    return runtime.whileAlive(doProcesses(context));
  }

 private:
  Task<void> doCreate(CreateContext context) {
    auto params = context.getParams();
    kj::Maybe<schema::Waiting::Client> listener;
    if (params.hasWaiting()) listener = params.getWaiting();
    auto container = co_await runtime.create(params.getRequest(), kj::mv(listener));
    container->describe(context.getResults(sizeOf(*container)).initContainer());
  }
  Task<void> doStart(StartContext context) {
    auto container = co_await runtime.start(kj::str(context.getParams().getId()));
    container->describe(context.getResults(sizeOf(*container)).initContainer());
  }
  Task<void> doWait(WaitContext context) {
    auto container = co_await runtime.wait(kj::str(context.getParams().getId()));
    container->describeExit(context.getResults(EXIT_SIZE).initExit());
  }
  Task<void> doStop(StopContext context) {
    auto params = context.getParams();
    auto container = co_await runtime.stop(kj::str(params.getId()), kj::str(params.getSignal()),
                                           params.getGraceMs());
    container->describeExit(context.getResults(EXIT_SIZE).initExit());
  }
  Task<void> doRun(RunContext context) {
    auto params = context.getParams();
    std::vector<std::string> command;
    for (auto word : params.getCommand()) command.emplace_back(word.cStr());
    auto id = kj::str(params.getId());
    auto timeoutMs = params.getTimeoutMs();
    auto maxOutputBytes = params.getMaxOutputBytes();
    context.releaseParams();
    auto result = co_await runtime.run(kj::mv(id), kj::mv(command), timeoutMs, maxOutputBytes);
    auto results = context.getResults(capnp::MessageSize{8 + result.output.size() / 8, 0});
    results.setExitCode(result.exitCode);
    results.setTimedOut(result.timedOut);
    results.setOutput(result.output);
  }
  Task<void> doExec(ExecContext context) {
    auto params = context.getParams();
    auto running =
        co_await runtime.exec(kj::str(params.getId()), params.getProgram(), params.getOutput());
    context.getResults(capnp::MessageSize{NOTHING.wordCount, 1}).setRunning(kj::mv(running));
  }
  Task<void> doUsage(UsageContext context) {
    std::vector<std::string> ids;
    for (auto id : context.getParams().getIds()) ids.emplace_back(id.cStr());
    auto measured = co_await runtime.usage(std::move(ids));
    auto results = context.getResults().initUsages(measured.size());
    for (uint32_t i = 0; i < results.size(); ++i) {
      auto& one = measured[i];
      results[i].setId(one.id.c_str());
      results[i].setAtNs(one.atNs);
      results[i].setCpuNs(one.own.cpuNs);
      results[i].setMemoryBytes(one.own.memoryBytes);
      results[i].setMemoryLimitBytes(one.own.memoryLimitBytes);
      results[i].setReceivedBytes(one.network.receivedBytes);
      results[i].setSentBytes(one.network.sentBytes);
      results[i].setReadBytes(one.own.readBytes);
      results[i].setWrittenBytes(one.own.writtenBytes);
      results[i].setPids(one.own.pids);
    }
  }
  Task<void> doProcesses(ProcessesContext context) {
    auto found = co_await runtime.processes(kj::str(context.getParams().getId()));
    auto list = context.getResults().initProcesses(found.some.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      auto& one = found.some[i];
      list[i].setPid(one.pid);
      list[i].setParent(one.parent);
      list[i].setUid(one.uid);
      list[i].setUser(found.users[i].c_str());
      list[i].setCpuNs(one.cpuNs);
      list[i].setCommand(one.command.c_str());
    }
    context.getResults().setMore(found.more);
  }
  Task<void> doVolumes(VolumesContext context) {
    auto all = co_await runtime.volumes();
    auto results = context.getResults().initVolumes(all.size());
    for (uint32_t i = 0; i < results.size(); ++i) {
      results[i].setName(all[i].name.c_str());
      results[i].setDriver("local");
      results[i].setPath(all[i].path.c_str());
      results[i].setCreatedAtNs(all[i].createdAtNs);
      fill(results[i].initUsedBy(all[i].usedBy.size()), all[i].usedBy);
    }
  }
  Task<void> doRemoveVolume(RemoveVolumeContext context) {
    bool found = co_await runtime.removeVolume(kj::str(context.getParams().getName()));
    context.getResults(NOTHING).setFound(found);
  }
  Task<void> doPruneVolumes(PruneVolumesContext context) {
    auto removed = co_await runtime.pruneVolumes();
    fill(context.getResults().initRemoved(removed.size()), removed);
  }

  OciRuntime& runtime;
};

}  // namespace

OciPlugin::OciPlugin(Env& env, Host& host, Options options)
    : host(host), runtime(kj::heap<OciRuntime>(env, host, kj::mv(options))) {}

Task<void> OciPlugin::recover() { return runtime->recover(); }

Task<Services> OciPlugin::start() {
  auto problem = co_await runtime->probe();
  KJ_IF_MAYBE (why, problem) fail(kj::mv(*why));
  Services services;
  services.add(host.node().instance, schema::Runtime::Client(kj::heap<Service>(*runtime)));
  co_return kj::mv(services);
}

Task<void> OciPlugin::stop() { return runtime->drain(); }

}  // namespace orch::runtime
