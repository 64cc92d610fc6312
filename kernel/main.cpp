// orchd: reads the manifest, starts the kernel, waits for a signal.
#include <getopt.h>
#include <kj/debug.h>
#include <kj/filesystem.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "kernel/check.h"
#include "kernel/kernel.h"
#include "kernel/loop/folder-watcher.h"
#include "kernel/loop/watchdog.h"
#include "kernel/rpc/listener.h"
#include "orch/abi.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch {
namespace {

constexpr const char* USAGE =
    "usage: orchd [--config FILE] [--label KEY=VALUE]… | --check [FILE] | --inspect PLUGIN-FILE | "
    "--version\n"
    "\n"
    "  --config FILE       the manifest (default /etc/orch/orchd.toml, then plugins.d/*.toml "
    "beside it)\n"
    "  --label KEY=VALUE   a label of this node; adds to [node].labels\n"
    "  --check             says whether the manifest is valid, and ends\n"
    "  --inspect FILE      prints what a plugin's file says of itself, without loading it, and "
    "ends\n"
    "  --version           prints the version, and ends\n";

struct Options {
  std::string config = "/etc/orch/orchd.toml";
  std::vector<std::pair<std::string, std::string>> labels;
  std::string inspect;
  bool check = false;
};

[[noreturn]] void usage(const std::string& problem) {
  fprintf(stderr, "orchd: %s\n%s", problem.c_str(), USAGE);
  exit(2);
}

std::string absolutePath(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal();
}

Options parseOptions(int argc, char** argv) {
  static const struct option LONG[] = {{"config", required_argument, nullptr, 'c'},
                                       {"label", required_argument, nullptr, 'l'},
                                       {"check", no_argument, nullptr, 'k'},
                                       {"inspect", required_argument, nullptr, 'i'},
                                       {"version", no_argument, nullptr, 'v'},
                                       {"help", no_argument, nullptr, 'h'},
                                       {nullptr, 0, nullptr, 0}};
  Options options;
  int letter;
  opterr = 0;
  while ((letter = getopt_long(argc, argv, "", LONG, nullptr)) != -1) {
    std::string value = optarg == nullptr ? "" : optarg;
    auto equals = value.find('=');
    switch (letter) {
      case 'c':
        options.config = absolutePath(value);
        break;
      case 'l':
        if (equals == std::string::npos || equals == 0)
          usage("--label '" + value + "': accepted is KEY=VALUE");
        options.labels.emplace_back(value.substr(0, equals), value.substr(equals + 1));
        break;
      case 'k':
        options.check = true;
        break;
      case 'i':
        options.inspect = absolutePath(value);
        break;
      case 'v':
        printf("orchd %s (%s)\n", ORCH_VERSION, ORCH_ABI_ID);
        exit(0);
      case 'h':
        printf("%s", USAGE);
        exit(0);
      default:
        usage(std::string("unknown option '") + argv[optind - 1] + "'");
    }
  }
  if (options.check && optind < argc) options.config = absolutePath(argv[optind++]);
  if (optind < argc) usage(std::string("unexpected argument '") + argv[optind] + "'");
  return options;
}

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

void makeFolder(const std::string& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    fail(kj::str("cannot make the folder '", path.c_str(), "': ", error.message().c_str()));
  chmod(path.c_str(), mode);
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

// Everything that lives until a signal comes. The exit status.
Task<int> serve(kj::AsyncIoContext& io, Env& env, Kernel& kernel) {
  log::Logger logger("kernel", schema::LogLevel::INFO);
  rpc::Listener listener(env, kernel.manifest().node.run, kernel.gateway());
  loop::Watchdog watchdog(kernel.lag(), kernel.manifest().node.loopLimitMs);
  loop::UvBridge uv(io.unixEventPort, env.timer());

  auto terminated = io.unixEventPort.onSignal(SIGTERM)
                        .exclusiveJoin(io.unixEventPort.onSignal(SIGINT))
                        .then([](siginfo_t&&) { return 0; })
                        .fork();
  auto start = kernel.start().promise().fork();
  auto early = start.addBranch().then([]() { return -1; }).exclusiveJoin(terminated.addBranch());
  int ended = co_await early;
  if (ended < 0) {
    std::vector<std::unique_ptr<loop::FolderWatcher>> watchers;
    for (auto& folder : kernel.plugins().folders()) {
      watchers.push_back(std::make_unique<loop::FolderWatcher>(
          uv, folder, [&kernel](kj::StringPtr) { kernel.plugins().filesChanged(); }));
    }
    auto hangups =
        reloadOnHangup(io.unixEventPort, kernel, logger).promise().eagerlyEvaluate(nullptr);
    log::LogFields fields;
    fields.emplace_back("node", kj::str(kernel.identity().name.c_str()));
    fields.emplace_back("version", kj::str(ORCH_VERSION));
    logger.write(schema::LogLevel::INFO, "ready", fields);
    auto critical = kernel.plugins().onCriticalFailure().then([&logger](kj::String&& reason) {
      log::LogFields why;
      why.emplace_back("reason", kj::mv(reason));
      logger.write(schema::LogLevel::ERROR, "kernel.critical-plugin-failed", why);
      return 1;
    });
    auto broken = listener.serve().then([]() { return 1; });
    ended = co_await terminated.addBranch()
                .exclusiveJoin(kj::mv(critical))
                .exclusiveJoin(kj::mv(broken));
  }
  logger.write(schema::LogLevel::INFO, "stopping");
  co_await kernel.stop();
  co_return ended;
}

int run(const Options& options) {
  // Before any thread: they must not receive these.
  kj::UnixEventPort::captureSignal(SIGTERM);
  kj::UnixEventPort::captureSignal(SIGINT);
  kj::UnixEventPort::captureSignal(SIGHUP);
  signal(SIGPIPE, SIG_IGN);

  auto disk = kj::newDiskFilesystem();
  auto manifest = config::readManifest(disk->getRoot(), options.config);
  for (auto& label : options.labels) manifest.node.labels.push_back(label);
  makeFolder(manifest.node.data, 0700);
  makeFolder(manifest.node.run, 0755);

  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto places = findPlaces(manifest.node);
  Kernel kernel(*env, std::move(manifest), std::move(places), options.config);
  return serve(io, *env, kernel).wait(io.waitScope);
}

int guardedMain(int argc, char** argv) {
  auto options = parseOptions(argc, argv);
  auto outcome = attemptNow([&]() {
    if (!options.inspect.empty()) return check::inspectPlugin(options.inspect);
    auto disk = kj::newDiskFilesystem();
    if (options.check) {
      auto manifest = config::readManifest(disk->getRoot(), options.config);
      return check::checkManifest(manifest, findPlaces(manifest.node), options.config);
    }
    return run(options);
  });
  if (outcome.ok()) return outcome.value();
  fprintf(stderr, "orchd: %s\n", plainText(outcome.error()).cStr());
  return 1;
}

}  // namespace
}  // namespace orch

int main(int argc, char** argv) { return orch::guardedMain(argc, argv); }
