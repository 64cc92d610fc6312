#include "kernel/plugin/plugin-runner.h"

#include <kj/debug.h>
#include <sys/stat.h>

#include <fstream>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {

// Recovering adopts containers, starting may prepare the host: slower than any one call.
constexpr uint64_t START_DEADLINE_MS = 120'000;

uint64_t residentBytes(uint32_t pid) {
  std::ifstream statm("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

}  // namespace

PluginRunner::PluginRunner(NodeParts parts, const PluginPlaces& places,
                           PluginNeighbours& neighbours, config::PluginEntry entry,
                           schema::LogLevel level)
    : parts(parts),
      places(places),
      neighbours(neighbours),
      settings(std::move(entry)),
      logger(settings.id, level),
      kernelLogger("kernel", schema::LogLevel::INFO),
      stopAsked(kj::newPromiseAndFulfiller<void>()),
      stopSignal(stopAsked.promise.fork()),
      ended(kj::newPromiseAndFulfiller<void>()),
      endedSignal(ended.promise.fork()) {}

PluginRunner::~PluginRunner() noexcept(false) { withdraw(); }

kj::Promise<void> PluginRunner::run() {
  return live()
      .promise()
      .exclusiveJoin(stopSignal.addBranch().then([this]() -> kj::Promise<void> {
        // While it runs, `watch` sees the signal itself and drains; before, there is nothing to
        // drain.
        if (current == State::RUNNING || current == State::STOPPING) return kj::NEVER_DONE;
        enter(State::STOPPED);
        return kj::READY_NOW;
      }))
      .then([this]() { ended.fulfiller->fulfill(); });
}

kj::Promise<void> PluginRunner::stop() {
  stopping = true;
  stopAsked.fulfiller->fulfill();
  return endedSignal.addBranch();
}

Task<void> PluginRunner::live() {
  auto prepared = co_await attempt(prepare());
  if (!prepared.ok()) {
    enter(State::FAILED, plainText(prepared.error()));
    co_return;
  }
  for (;;) {
    co_await waitForRequirements();
    enter(State::STARTING);
    auto started = co_await attempt(startOnce());
    kj::String gone;
    if (started.ok()) {
      enter(State::RUNNING);
      backoffMs = 0;
      gone = co_await watch();
      if (stopping) co_return;
    } else if (started.error().getType() == kj::Exception::Type::DISCONNECTED) {
      gone = kj::str("its process ended while it was starting");
    } else {
      instance = nullptr;
      enter(State::FAILED, plainText(started.error()));
      co_return;
    }
    withdraw();
    instance = nullptr;
    if (!mayRestart()) {
      enter(State::FAILED, kj::str(gone, "; ", recentRestarts.size() - 1,
                                   " restarts within the window did not help"));
      co_return;
    }
    ++restarts;
    enter(State::WAITING, kj::str(gone, "; starts again in ", backoffMs, " ms"));
    co_await parts.env.timer().afterDelay(backoffMs * kj::MILLISECONDS);
  }
}

bool PluginRunner::mayRestart() {
  auto now = parts.env.timer().now();
  auto window = settings.restart.windowMs * kj::MILLISECONDS;
  std::erase_if(recentRestarts, [&](kj::TimePoint at) { return now - at > window; });
  recentRestarts.push_back(now);
  backoffMs = backoffMs == 0 ? settings.restart.backoffMinMs
                             : kj::min(backoffMs * 2, settings.restart.backoffMaxMs);
  return recentRestarts.size() <= settings.restart.limit;
}

Task<PluginFile> PluginRunner::findFile() {
  auto name = settings.kind + "." + settings.name + ".so";
  for (;;) {
    std::vector<std::string> candidates;
    if (!settings.file.empty()) {
      candidates.push_back(settings.file);
    } else {
      for (auto& folder : places.folders) candidates.push_back(folder + "/" + name);
    }
    auto changed = neighbours.whenFilesChange();
    auto search = [candidates]() -> std::string {
      struct stat info;
      for (auto& path : candidates) {
        if (stat(path.c_str(), &info) == 0) return path;
      }
      return "";
    };
    auto path = co_await parts.env.workers().run(kj::mv(search));
    if (!path.empty()) {
      auto read = [path]() { return readPluginFile(path); };
      co_return co_await parts.env.workers().run(kj::mv(read));
    }
    enter(State::WAITING,
          kj::str("there is no file '", candidates.front().c_str(), "'; starts when it appears"));
    co_await changed;
  }
}

Task<void> PluginRunner::prepare() {
  file = co_await findFile();
  auto& d = file.descriptor;
  if (settings.kind != d.kind || settings.name != d.name) {
    fail(kj::str("plugin file '", file.path.c_str(), "' is '", d.kind, ".", d.name, "', not '",
                 settings.kind.c_str(), ".", settings.name.c_str(), "'"));
  }
  auto folder = file.path.substr(0, file.path.rfind('/'));
  isolation = folder == places.ownFolder ? config::Isolation::KERNEL : config::Isolation::PROCESS;
  if (settings.isolation) isolation = *settings.isolation;
  schema = std::make_unique<config::SettingsSchema>(file.schema, d.settingsType);
  schema->read(std::get<config::Table>(settings.config.data), settings.id, values);
}

Task<void> PluginRunner::waitForRequirements() {
  for (auto& requirement : file.requirements()) {
    if (neighbours.isRunning(requirement)) continue;
    enter(State::WAITING, kj::str("needs '", requirement.c_str(), "', which does not run"));
    co_await neighbours.whenRunning(requirement);
  }
}

Task<void> PluginRunner::startOnce() {
  PluginFile copy;
  copy.path = file.path;
  copy.descriptor = file.descriptor;
  auto made = isolation == config::Isolation::KERNEL
                  ? newKernelInstance(parts.env, kj::mv(copy))
                  : newProcessInstance(parts.env, kj::mv(copy), places.hostProgram);
  auto fresh = co_await kj::mv(made);
  auto plugin = fresh->plugin();
  instance = kj::mv(fresh);
  auto configure = plugin.configureRequest();
  configure.setHost(newHostServer(parts, settings.id, logger));
  configure.getSettings().set(values.getRoot<capnp::AnyPointer>().asReader());
  co_await withDeadline(configure.send().ignoreResult(), settings.deadlineMs, "configure");
  auto recovered = plugin.recoverRequest().send().ignoreResult();
  co_await withDeadline(kj::mv(recovered), START_DEADLINE_MS, "recover");
  co_await withDeadline(startAndOffer(plugin), START_DEADLINE_MS, "start");
}

kj::Promise<void> PluginRunner::startAndOffer(schema::Plugin::Client plugin) {
  return plugin.startRequest().send().then(
      [this](capnp::Response<schema::Plugin::StartResults>&& started) {
        for (auto service : started.getServices()) {
          std::string name = service.getName().cStr();
          parts.registry.offer(name, service.getCapability(), stats, settings.deadlineMs);
          services.push_back(name);
        }
      });
}

// Until the process behind it has ended (the reason), or a stop has been asked for and is done.
Task<kj::String> PluginRunner::watch() {
  auto& running = *KJ_ASSERT_NONNULL(instance);
  auto stopped = stopSignal.addBranch().then([]() { return kj::str(); });
  auto reason = co_await running.onGone().exclusiveJoin(kj::mv(stopped));
  if (!stopping) co_return kj::mv(reason);
  enter(State::STOPPING);
  auto drained = running.plugin().stopRequest().send().ignoreResult();
  auto outcome = co_await attempt(withDeadline(kj::mv(drained), settings.deadlineMs, "stop"));
  withdraw();
  instance = nullptr;
  enter(State::STOPPED, outcome.ok() ? "" : plainText(outcome.error()));
  co_return kj::str();
}

kj::Promise<void> PluginRunner::withDeadline(kj::Promise<void> step, uint64_t ms,
                                             const char* what) {
  auto late = parts.env.timer().afterDelay(ms * kj::MILLISECONDS).then([this, ms, what]() {
    fail(kj::str("plugin '", settings.id.c_str(), "' has not finished '", what, "' within ", ms,
                 " ms"));
  });
  return step.exclusiveJoin(kj::mv(late));
}

void PluginRunner::withdraw() {
  for (auto& name : services) parts.registry.withdraw(name);
  services.clear();
}

void PluginRunner::enter(State state, kj::StringPtr reason) {
  static constexpr kj::StringPtr TOPICS[] = {"plugin.waiting"_kj, "plugin.starting"_kj,
                                             "plugin.started"_kj, "plugin.stopping"_kj,
                                             "plugin.stopped"_kj, "plugin.failed"_kj};
  current = state;
  why = reason.cStr();
  parts.bus.publish(TOPICS[static_cast<unsigned>(state)], settings.id.c_str(),
                    {{"reason", reason}});
  if (state == State::FAILED) {
    log::LogFields fields;
    fields.emplace_back("plugin", kj::str(settings.id.c_str()));
    fields.emplace_back("reason", kj::str(reason));
    kernelLogger.write(schema::LogLevel::ERROR, "plugin.failed", fields);
  }
  neighbours.stateChanged(settings.id);
}

void PluginRunner::describe(schema::PluginStatus::Builder status) const {
  status.setId(settings.id.c_str());
  status.setVersion(file.path.empty() ? "" : file.descriptor.pluginVersion);
  status.setState(current);
  status.setReason(why.c_str());
  status.setIsolation(isolated() ? "process" : "kernel");
  status.setRestarts(restarts);
  status.setCallP99Us(stats.p99Us());
  status.setCalls(stats.calls());
  status.setFile(file.path.c_str());
  status.setCritical(settings.critical);
  auto offered = status.initServices(services.size());
  for (uint32_t i = 0; i < offered.size(); ++i) offered.set(i, services[i].c_str());
  if (file.path.empty()) return;
  auto required = file.requirements();
  auto list = status.initRequires(required.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, required[i].c_str());
  status.setAbiId(file.descriptor.abiId);
  status.setSdkVersion(file.descriptor.sdkVersion);
  status.setSettings(settingsToml(false).c_str());
  KJ_IF_MAYBE (running, instance) {
    status.setPid((*running)->pid());
    if ((*running)->pid() != 0) status.setMemoryBytes(residentBytes((*running)->pid()));
  }
}

std::string PluginRunner::settingsToml(bool comments) const {
  if (schema == nullptr) return "";
  return schema->toToml(const_cast<capnp::MallocMessageBuilder&>(values), comments);
}

kj::Promise<void> PluginRunner::setLogLevel(schema::LogLevel level) {
  logger.setLevel(level);
  KJ_IF_MAYBE (running, instance) {
    auto request = (*running)->plugin().logLevelRequest();
    request.setLevel(level);
    return request.send().ignoreResult();
  }
  return kj::READY_NOW;
}

}  // namespace orch::plugin
