// orchd: reads the manifest, starts the kernel, waits for a signal.
#include <errno.h>
#include <kj/debug.h>
#include <kj/filesystem.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <filesystem>

#include "kernel/check.h"
#include "kernel/kernel.h"
#include "kernel/loop/crash.h"
#include "kernel/loop/folder-set.h"
#include "kernel/loop/watchdog.h"
#include "kernel/node-folders.h"
#include "kernel/options.h"
#include "kernel/rpc/listener.h"
#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch {
namespace {

plugin::PluginPlaces findPlaces(const config::NodeEntry& node) {
  char program[PATH_MAX] = {};
  KJ_SYSCALL(readlink("/proc/self/exe", program, sizeof(program) - 1));
  auto bin = std::filesystem::path(program).parent_path();
  plugin::PluginPlaces places;
  places.ownFolder = (bin.parent_path() / ORCH_PLUGIN_FOLDER).lexically_normal();
  places.folders = node.pluginFolders;
  places.folders.push_back(places.ownFolder);
  places.hostProgram = bin / "orch-plugin-host";
  return places;
}

Task<void> reloadOnHangup(kj::UnixEventPort& port, Kernel& kernel, log::Logger& logger) {
  for (;;) {
    co_await port.onSignal(SIGHUP);
    auto outcome = co_await attempt(kernel.reload());
    log::LogFields fields;
    if (outcome.ok()) {
      for (auto& text : outcome.value().applied)
        fields.emplace_back("applied", kj::str(text.c_str()));
      for (auto& text : outcome.value().needRestart)
        fields.emplace_back("needsRestart", kj::str(text.c_str()));
      logger.write(schema::LogLevel::INFO, "config reloaded", fields);
    } else {
      fields.emplace_back("reason", kj::str(outcome.message()));
      logger.write(schema::LogLevel::ERROR, "config.reload-refused", fields);
    }
  }
}

// Keeps the folders watched in which plugins' files may appear, also when a reload changes them.
Task<void> watchFolders(loop::FolderSet& folders, Kernel& kernel) {
  for (;;) {
    auto changed = kernel.plugins().whenFoldersChange();
    co_await folders.watch(kernel.plugins().folders());
    co_await changed;
  }
}

// From the open kernel to the signal that ends it, or the failure. The exit status.
Task<int> run(kj::UnixEventPort& port, Kernel& kernel, log::Logger& logger, rpc::Listener& listener,
              loop::FolderSet& folders) {
  co_await kernel.open();
  auto broken = listener.serve().promise().then([]() { return 1; });
  auto critical = kernel.plugins().onCriticalFailure().then([&logger](kj::String&& reason) {
    log::LogFields why;
    why.emplace_back("reason", kj::mv(reason));
    logger.write(schema::LogLevel::ERROR, "kernel.critical-plugin-failed", why);
    return 1;
  });
  auto ended = broken.exclusiveJoin(kj::mv(critical)).eagerlyEvaluate(nullptr);
  auto watching = watchFolders(folders, kernel).promise().eagerlyEvaluate(nullptr);
  auto hangups = reloadOnHangup(port, kernel, logger).promise().eagerlyEvaluate(nullptr);
  auto ready = kernel.start().promise().then([&]() {
    log::LogFields fields;
    fields.emplace_back("node", kj::str(kernel.identity().name.c_str()));
    fields.emplace_back("version", kj::str(ORCH_VERSION));
    logger.write(schema::LogLevel::INFO, "ready", fields);
  });
  auto starting = ready.eagerlyEvaluate(nullptr);
  co_return co_await ended;
}

// Whatever ends it, the plugins drain. The exit status.
constexpr int RESTART = 256;  // no exit status

Task<int> serve(kj::AsyncIoContext& io, Env& env, Kernel& kernel) {
  log::Logger logger("kernel", schema::LogLevel::INFO);
  rpc::Listener listener(env, logger, kernel.manifest().node.run, kernel.gateway());
  loop::Watchdog watchdog(env.timer(), kernel.manifest().node.loopLimitMs, logger);
  loop::UvBridge uv(io.unixEventPort, env.timer());
  loop::FolderSet folders(env, uv, [&kernel]() { kernel.plugins().filesChanged(); });
  auto terminated = io.unixEventPort.onSignal(SIGTERM)
                        .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                        .then([](siginfo_t&&) { return 0; })
                        .exclusiveJoin(kernel.onRestart().then([]() { return RESTART; }));
  auto running = run(io.unixEventPort, kernel, logger, listener, folders)
                     .promise()
                     .exclusiveJoin(kj::mv(terminated));
  auto ended = co_await attempt(kj::mv(running));
  int status = 1;
  if (ended.ok()) {
    status = ended.value();
  } else {
    log::LogFields fields;
    fields.emplace_back("reason", kj::str(plainText(ended.error())));
    logger.write(schema::LogLevel::ERROR, "kernel.failed", fields);
  }
  logger.write(schema::LogLevel::INFO, "stopping");
  auto stopped = co_await attempt(kernel.stop());
  if (!stopped.ok()) {
    log::LogFields fields;
    fields.emplace_back("reason", kj::str(plainText(stopped.error())));
    logger.write(schema::LogLevel::ERROR, "kernel.stop-failed", fields);
  }
  loop::endSoon();
  co_return status;
}

// As many descriptors as the system allows; what orchd starts gets the limit of before (SDK,
// SystemProcesses).
void raiseOpenFiles() {
  struct rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit));
}

config::Manifest readManifest(const Options& options) {
  auto disk = newSystemFiles();
  auto manifest = config::readManifest(disk->getRoot(), options.config);
  for (auto& [key, value] : options.labels) config::addCommandLineLabel(manifest.node, key, value);
  return manifest;
}

int runNode(const Options& options) {
  if (geteuid() != 0) {
    fail(
        kj::str("needs root, for mounts, namespaces and control groups: run it with sudo, or as "
                "the service orchd of systemd"));
  }
  loop::reportCrashes();
  // Before any thread: they must not receive these.
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  kj::UnixEventPort::captureSignal(SIGHUP);
  signal(SIGPIPE, SIG_IGN);

  auto manifest = readManifest(options);
  makeNodeFolder(manifest.node.data, "data", 0700);
  requireOwnFolder(manifest.node.data, "data");
  auto lock = lockNodeFolder(manifest.node.data, "data");
  makeNodeFolder(manifest.node.run, "run", 0755);

  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  raiseOpenFiles();
  auto places = findPlaces(manifest.node);
  Kernel kernel(*env, std::move(manifest), std::move(places), options.config);
  return serve(io, *env, kernel).wait(io.waitScope);
}

int check(const Options& options) {
  auto outcome = attemptNow([&]() {
    signal(SIGPIPE, SIG_IGN);
    auto io = kj::setupAsyncIo();
    auto env = newSystemEnv(io);
    auto manifest = readManifest(options);
    auto places = findPlaces(manifest.node);
    return check::checkManifest(*env, manifest, places, options.config, options.json)
        .wait(io.waitScope);
  });
  if (outcome.ok()) return outcome.value();
  std::string problem = plainText(outcome.error()).cStr();
  if (options.json) check::printInvalid(options.config, problem);
  fail(kj::str(problem.c_str()));
}

// The same program again, as the same process: whoever looks after it notices nothing.
[[noreturn]] void runAgain(char** argv) {
  alarm(0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv("/proc/self/exe", argv);
  KJ_FAIL_SYSCALL("execv", errno);
}

int guardedMain(int argc, char** argv) {
  // After `runAgain` the kernel would call it 'exe'.
  prctl(PR_SET_NAME, program_invocation_short_name);
  auto options = parseOptions(argc, argv);
  auto outcome = attemptNow([&]() {
    if (!options.inspect.empty()) return check::inspectPlugin(options.inspect, options.json);
    return options.check ? check(options) : runNode(options);
  });
  if (outcome.ok() && outcome.value() == RESTART) runAgain(argv);
  if (outcome.ok()) return outcome.value();
  fprintf(stderr, "orchd: %s\n", plainText(outcome.error()).cStr());
  return 1;
}

}  // namespace
}  // namespace orch

int main(int argc, char** argv) { return orch::guardedMain(argc, argv); }
