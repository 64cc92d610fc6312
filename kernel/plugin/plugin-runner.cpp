#include "kernel/plugin/plugin-runner.h"

#include <kj/debug.h>

#include <fstream>

#include "kernel/loop/turned-for.h"
#include "orch/amounts.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {

constexpr kj::StringPtr STOPPED = "it was stopped"_kj;
// Of one kind: what a node with hundreds of tasks says when they all start.
constexpr uint32_t LINES_AT_ONCE = 1'000;

uint64_t residentBytes(uint32_t pid) {
  std::ifstream statm("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

}  // namespace

PluginRunner::PluginRunner(NodeParts parts, const PluginPlaces& places,
                           PluginNeighbours& neighbours, config::PluginEntry entry,
                           schema::LogLevel level, StartedBy startedBy)
    : parts(parts),
      places(places),
      neighbours(neighbours),
      settings(std::move(entry)),
      logger(settings.id, level),
      lines(parts.env, logger, LINES_AT_ONCE),
      kernelLogger("kernel", schema::LogLevel::INFO),
      isolation(settings.isolation.value_or(config::Isolation::KERNEL)),
      startedBy(startedBy),
      runningSince(parts.env.timer().now()),
      stopAsked(kj::newPromiseAndFulfiller<void>()),
      stopSignal(stopAsked.promise.fork()),
      ended(kj::newPromiseAndFulfiller<void>()),
      endedSignal(ended.promise.fork()) {}

PluginRunner::~PluginRunner() noexcept(false) {
  withdraw();
  KJ_IF_MAYBE (around, guard) (*around)->end("this node has stopped");
}

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
      .then([this]() {
        letGo(STOPPED);
        ended.fulfiller->fulfill();
      });
}

bool PluginRunner::starting() const {
  if (failedStarts > 0 || late) return false;
  return current == State::STARTING || (current == State::WAITING && why.empty());
}

kj::Promise<void> PluginRunner::stop() {
  stopping = true;
  stopAsked.fulfiller->fulfill();
  return endedSignal.addBranch();
}

Task<void> PluginRunner::live() {
  for (;;) {
    // Each time: the file may be another one since the last.
    auto prepared = co_await attempt(prepare());
    if (!prepared.ok()) {
      enter(State::FAILED, plainText(prepared.error()));
      co_return;
    }
    auto ready = co_await attempt(waitForRequirements());
    if (!ready.ok()) {
      enter(State::FAILED, plainText(ready.error()));
      co_return;
    }
    enter(State::STARTING);
    auto started = co_await attempt(startInTime());
    kj::String gone;
    kj::StringPtr message = "plugin.start-failed, starting it again";
    if (started.ok()) {
      failedStarts = 0;
      startedBy = StartedBy::ORCHD;
      runningSince = parts.env.timer().now();
      enter(State::RUNNING);
      gone = co_await watch();
      if (stopping) co_return;
      message = "plugin.ended, starting it again";
    } else {
      ++failedStarts;
      gone = co_await whyNotStarted(started.error());
      if (endingOf(started.error()) == Ending::FINAL) {
        letGo(gone);
        enter(State::FAILED, gone);
        co_return;
      }
    }
    letGo(gone);
    if (!mayRestart()) {
      enter(State::FAILED, kj::str(gone, "; ", recentRestarts.size() - 1,
                                   " restarts within the window did not help; when the cause is "
                                   "gone: orch config reload"));
      co_return;
    }
    ++restarts;
    auto reason = kj::str(gone, "; starts again in ", backoffMs, " ms");
    tell(schema::LogLevel::WARN, message, reason);
    enter(State::WAITING, reason);
    co_await parts.env.timer().afterDelay(backoffMs * kj::MILLISECONDS);
  }
}

// A refused setting stays refused. In the kernel a step without an end may still be at work, and a
// second one must not run beside it.
PluginRunner::Ending PluginRunner::endingOf(const kj::Exception& error) const {
  if (gaveUp) return isolated() ? Ending::AGAIN : Ending::FINAL;
  bool refused = step == Step::CONFIGURE && error.getType() != kj::Exception::Type::DISCONNECTED;
  return refused ? Ending::FINAL : Ending::AGAIN;
}

Task<kj::String> PluginRunner::whyNotStarted(kj::Exception& error) {
  bool broke = error.getType() == kj::Exception::Type::DISCONNECTED && isolated() &&
               !rpc::saidByPlugin(error) && !gaveUp;
  KJ_IF_MAYBE (dying, instance) {
    auto gone = broke ? (*dying)->onGone() : kj::Promise<kj::String>(kj::str());
    auto reason = co_await gone;
    if (broke) co_return kj::str(reason, " while it was starting");
  }
  auto text = kj::str(plainText(error));
  if (endingOf(error) == Ending::AGAIN || gaveUp) co_return kj::mv(text);
  co_return kj::str(located(settings, text.cStr()).c_str());
}

// What was only slow is tried again for as long as it takes.
bool PluginRunner::mayRestart() {
  auto now = parts.env.timer().now();
  auto window = settings.restart.windowMs * kj::MILLISECONDS;
  std::erase_if(recentRestarts, [&](kj::TimePoint at) { return now - at > window; });
  if (!gaveUp) recentRestarts.push_back(now);
  if (failedStarts == 0 && now - runningSince >= window) backoffMs = 0;
  backoffMs = backoffMs == 0 ? settings.restart.backoffMinMs
                             : kj::min(backoffMs * 2, settings.restart.backoffMaxMs);
  return gaveUp || recentRestarts.size() <= settings.restart.limit;
}

Task<CheckedEntry> PluginRunner::findFile() {
  for (;;) {
    auto changed = neighbours.whenFilesChange();
    struct Look {
      std::optional<CheckedEntry> found;
      std::string missing;
    };
    auto look = [entry = settings, places = places]() {
      Look result{checkEntry(entry, places), ""};
      if (!result.found) result.missing = whyMissing(entry, places);
      return result;
    };
    auto looked = co_await attempt(parts.env.workers().run(kj::mv(look)));
    if (looked.ok() && looked.value().found) co_return std::move(*looked.value().found);
    if (looked.ok()) {
      enter(State::WAITING, kj::str(looked.value().missing.c_str(), "; starts when it appears"));
    } else if (looked.error().getType() == kj::Exception::Type::OVERLOADED) {
      enter(State::WAITING, kj::str(plainText(looked.error()), "; looks again when it changes"));
    } else {
      kj::throwFatalException(kj::mv(looked.error()));
    }
    co_await changed;
  }
}

Task<void> PluginRunner::prepare() {
  auto checked = co_await findFile();
  file = kj::mv(checked.file);
  isolation = checked.isolation;
  required = file.requirements();
  schema = std::make_unique<config::SettingsSchema>(file.schema, file.descriptor.settingsType);
  values = kj::heap<capnp::MallocMessageBuilder>(SETTINGS_WORDS);
  schema->read(std::get<config::Table>(settings.config.data), settings.id, *values);
  parts.registry.methods().learn(file.schema);
  file.schema = nullptr;
}

Task<void> PluginRunner::waitForRequirements() {
  for (auto& requirement : required) {
    if (neighbours.isRunning(requirement)) continue;
    enter(State::WAITING, kj::str("needs '", requirement.c_str(), "', which does not run"));
    co_await neighbours.whenRunning(settings.id, requirement);
  }
}

Task<void> PluginRunner::startInTime() {
  late = gaveUp = false;
  auto deadline = loop::turnedFor(parts.env.timer(), settings.startDeadlineMs * kj::MILLISECONDS);
  auto slow = deadline.then([this]() -> kj::Promise<void> {
    tookTooLong();
    return kj::NEVER_DONE;
  });
  co_await startOnce().promise().exclusiveJoin(kj::mv(slow));
  late = false;
}

// A process is ended, which ends the start. In the kernel the start goes on beside everything else,
// unless the node is nothing without it: then a new orchd tries.
void PluginRunner::tookTooLong() {
  static constexpr const char* STEPS[] = {"load", "configure", "recover", "start"};
  late = true;
  auto text = kj::str("has not finished '", STEPS[static_cast<unsigned>(step)], "' within ",
                      durationText(settings.startDeadlineMs), " (startDeadline)");
  gaveUp = isolated() || endsOrchd();
  if (gaveUp) fail(kj::mv(text));
  auto reason = kj::str(text, "; it is waited for");
  tell(schema::LogLevel::WARN, "plugin.start-slow", reason);
  enter(State::STARTING, reason);
}

Task<void> PluginRunner::startOnce() {
  step = Step::LOAD;
  PluginFile copy;
  copy.path = file.path;
  copy.descriptor = file.descriptor;
  copy.identity = file.identity;
  auto made = isolation == config::Isolation::KERNEL
                  ? newKernelInstance(parts.env, kj::mv(copy))
                  : newProcessInstance(parts.env, kj::mv(copy), places.hostProgram,
                                       rightsOf(settings, file));
  auto fresh = co_await kj::mv(made);
  rpc::Guard::Plugin guarded{settings.id, isolated(), settings.deadlineMs};
  auto around = kj::refcounted<rpc::Guard>(std::move(guarded), parts.env.timer(),
                                           parts.registry.methods(), stats);
  auto plugin = around->around(fresh->plugin());
  guard = kj::mv(around);
  instance = kj::mv(fresh);
  step = Step::CONFIGURE;
  auto configure = plugin.configureRequest();
  configure.setHost(newHostServer(parts, settings.id, reachableFrom(settings, file), lines));
  configure.getSettings().set(values->getRoot<capnp::AnyPointer>().asReader());
  co_await configure.send().ignoreResult();
  co_await setLogLevel(logger.level());
  step = Step::RECOVER;
  co_await plugin.recoverRequest().send().ignoreResult();
  step = Step::START;
  co_await startAndOffer(plugin);
}

kj::Promise<void> PluginRunner::startAndOffer(schema::Plugin::Client plugin) {
  return plugin.startRequest().send().then(
      [this](capnp::Response<schema::Plugin::StartResults>&& started) {
        for (auto service : started.getServices()) {
          std::string name = service.getName().cStr();
          if (service.hasCapability()) parts.registry.offer(name, service.getCapability());
          if (service.hasPeers()) parts.registry.offerToPeers(name, service.getPeers());
          services.push_back(name);
        }
      });
}

// Until the process behind it has ended (the reason), or a stop has been asked for and is done.
Task<kj::String> PluginRunner::watch() {
  auto& running = *KJ_ASSERT_NONNULL(instance);
  auto stopped = stopSignal.addBranch().then([]() { return kj::str(); });
  auto ending = running.onGone().exclusiveJoin(kj::mv(stopped));
  if (isolated()) ending = ending.exclusiveJoin(whenHung().promise());
  auto reason = co_await ending;
  if (!stopping) co_return kj::mv(reason);
  enter(State::STOPPING);
  auto drained = running.plugin().stopRequest().send().ignoreResult();
  auto late = loop::turnedFor(parts.env.timer(), settings.deadlineMs * kj::MILLISECONDS);
  auto slow = late.then([this]() {
    fail(kj::str("has not finished 'stop' within ", durationText(settings.deadlineMs),
                 " (deadline)"));
  });
  auto outcome = co_await attempt(drained.exclusiveJoin(kj::mv(slow)));
  letGo(STOPPED);
  enter(State::STOPPED, outcome.ok() ? "" : plainText(outcome.error()));
  co_return kj::str();
}

// Until a process that has let several deadlines pass does not answer a question that costs it
// nothing either. It is killed when its instance is let go.
Task<kj::String> PluginRunner::whenHung() {
  for (;;) {
    co_await stats.whenLate();
    auto& running = *KJ_ASSERT_NONNULL(instance);
    auto ping = running.plugin().logLevelRequest();
    ping.setLevel(logger.level());
    auto silence = loop::turnedFor(parts.env.timer(), settings.deadlineMs * kj::MILLISECONDS);
    auto silent = silence.then([]() { return true; });
    auto answer =
        ping.send().then([](auto&&) { return false; }, [](kj::Exception&&) { return false; });
    bool hangs = co_await answer.exclusiveJoin(kj::mv(silent));
    if (!hangs) continue;
    co_return kj::str("it did not answer ", rpc::CallStats::LATE_CALLS,
                      " calls in a row, nor a ping within ", settings.deadlineMs,
                      " ms, and was killed");
  }
}

void PluginRunner::withdraw() {
  for (auto& name : services) parts.registry.withdraw(name);
  services.clear();
}

void PluginRunner::letGo(kj::StringPtr reason) {
  bool offered = !services.empty();
  withdraw();
  KJ_IF_MAYBE (around, guard) (*around)->end(reason);
  guard = nullptr;
  KJ_IF_MAYBE (running, instance) {
    if (offered && !isolated()) kept.add(kj::mv(*running));
  }
  instance = nullptr;
}

void PluginRunner::tell(schema::LogLevel level, kj::StringPtr message, kj::StringPtr reason) {
  log::LogFields fields;
  fields.emplace_back("plugin", kj::str(settings.id.c_str()));
  fields.emplace_back("reason", kj::str(reason));
  kernelLogger.write(level, message, fields);
}

void PluginRunner::enter(State state, kj::StringPtr reason) {
  static constexpr kj::StringPtr TOPICS[] = {"plugin.waiting"_kj, "plugin.starting"_kj,
                                             "plugin.started"_kj, "plugin.stopping"_kj,
                                             "plugin.stopped"_kj, "plugin.failed"_kj};
  current = state;
  why = reason.cStr();
  parts.bus.publish(TOPICS[static_cast<unsigned>(state)], settings.id.c_str(),
                    {{"reason", reason}});
  if (state == State::FAILED) tell(schema::LogLevel::ERROR, "plugin.failed", reason);
  neighbours.stateChanged(settings.id);
}

void PluginRunner::describe(schema::PluginStatus::Builder status) const {
  status.setId(settings.id.c_str());
  status.setVersion(file.path.empty() ? "" : file.descriptor.pluginVersion);
  status.setState(current);
  status.setReason(why.c_str());
  if (!file.path.empty() || settings.isolation) {  // else the file's folder will say it
    status.setIsolation(isolated() ? "process" : "kernel");
  }
  status.setRestarts(restarts);
  status.setCallP99Us(stats.p99Us());
  status.setCalls(stats.calls());
  status.setFile(file.path.c_str());
  status.setCritical(settings.critical);
  auto offered = status.initServices(services.size());
  for (uint32_t i = 0; i < offered.size(); ++i) offered.set(i, services[i].c_str());
  if (file.path.empty()) return;
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
  return schema->toToml(*const_cast<kj::Own<capnp::MallocMessageBuilder>&>(values), comments);
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
