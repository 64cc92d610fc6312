// What OciRuntime does before it serves: look whether it can work here, and take over what is left
// of the last run.
#include <kj/debug.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "etc-files.h"
#include "log-file.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "volumes.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

struct Left {
  std::string id;
  kj::Maybe<kj::Array<capnp::word>> record;
  kj::Maybe<StateFile> state;
  bool sameBoot = false;
  kj::Maybe<kj::AutoCloseFd> process;
};

void addNames(const std::string& folder, std::set<std::string>& names) {
  std::error_code none;
  for (auto& entry : std::filesystem::directory_iterator(folder, none)) {
    names.insert(entry.path().filename().string());
  }
}

// Everything that has a folder of ours, whether it is whole or not.
kj::Vector<Left> findLeft(const BundleMaker& maker) {
  std::set<std::string> ids;
  addNames(maker.layout.run, ids);
  ids.erase("state");
  ids.erase("exits");
  addNames(maker.layout.containers(), ids);
  addNames(maker.layout.runtimeState(), ids);
  kj::Vector<Left> all;
  for (auto& id : ids) {
    if (id.empty() || id[0] == '.') continue;  // crun keeps a cache in `.cache`
    Left left{id, readRecord(maker.layout.record(id)), readState(maker.layout.state(id))};
    KJ_IF_MAYBE (state, left.state) {
      left.sameBoot = state->bootId == maker.bootId;
      if (left.sameBoot && !state->exited) {
        left.process = openProcess(state->pid, state->startTicks);
      }
    }
    all.add(kj::mv(left));
  }
  return all;
}

void makeFolders(const Layout& layout) {
  for (auto& folder :
       {layout.containers(), layout.volumes(), layout.exits(), layout.runtimeState()}) {
    std::filesystem::create_directories(folder);
  }
  // What containers write is theirs; the paths to it are root's.
  for (auto& folder : {layout.data, layout.run}) {
    KJ_SYSCALL(chmod(folder.c_str(), 0711), folder.c_str());
  }
}

std::string findProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = getenv("PATH");
  std::string folders = std::string(path == nullptr ? "" : path) + ":/usr/sbin:/usr/bin:/sbin:/bin";
  for (size_t begin = 0; begin < folders.size();) {
    size_t end = folders.find(':', begin);
    if (end == std::string::npos) end = folders.size();
    auto candidate = folders.substr(begin, end - begin) + "/" + name;
    if (end > begin && access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  return "";
}

}  // namespace

Task<kj::Maybe<kj::String>> OciRuntime::probe() {
  auto& options = maker->options;
  for (auto program : {&options.program, &options.conmon}) {
    auto found = findProgram(*program);
    if (found.empty()) {
      co_return kj::Maybe<kj::String>(
          kj::str("the program '", program->c_str(), "' is not there; install the package '",
                  program->c_str(), "' or set its path in the plugin's config"));
    }
    *program = found;
  }
  if (maker->layout.data.find(':') != std::string::npos) {
    co_return kj::Maybe<kj::String>(kj::str("conmon cannot write logs below '",
                                            maker->layout.data.c_str(),
                                            "': choose a data folder without ':' in its path"));
  }
  Cgroups::Needs needs{name(), options.refusesHybrid, options.alternative.c_str()};
  KJ_IF_MAYBE (why, maker->cgroups.whyNot(needs)) co_return kj::Maybe<kj::String>(kj::mv(*why));
  auto trying = env.workers().run([] { return overlayWorks(); });
  bool works = co_await trying;
  if (!works) {
    co_return kj::Maybe<kj::String>(
        kj::str("this kernel cannot mount overlayfs; load its module: modprobe overlay"));
  }
  ProcessSpec spec;
  spec.argv.add(kj::str(options.program.c_str()));
  spec.argv.add(kj::str("--version"));
  auto result = co_await env.command(kj::mv(spec));
  auto text = result.output.slice(0);
  versionText = kj::heapString(text.begin(), text.findFirst('\n').orDefault(text.size()));
  co_return kj::Maybe<kj::String>(nullptr);
}

Task<void> OciRuntime::recover() {
  auto job = maker;
  auto finding = env.workers().run([job] {
    makeFolders(job->layout);
    removeHalfMadeVolumes(job->layout.volumes());
    return findLeft(*job);
  });
  auto all = co_await finding;
  auto& watcher = inotify.emplace(env.eventPort());
  exits = watcher.watch(maker->layout.exits(), IN_MOVED_TO, [this](kj::StringPtr name) {
    for (auto& entry : containers) {
      auto& container = *entry.second.container;
      bool meant = name == container.id.c_str();
      // The kernel dropped events: whoever has a file has ended.
      if (name.size() == 0) {
        meant = access(maker->layout.exitFile(container.id).c_str(), F_OK) == 0;
      }
      if (meant) container.setExitFile();
    }
  });
  for (auto& left : all) {
    bool whole = left.record != nullptr && left.state != nullptr;
    if (!whole) {
      auto cleared = co_await attempt(clear(kj::str(left.id.c_str())));
      if (!cleared.ok()) {
        host.log().error("runtime.leftover",
                         {{"container", left.id.c_str()}, {"reason", cleared.message()}});
      }
      continue;
    }
    auto container = kj::refcounted<Container>(left.id);
    container->load(KJ_ASSERT_NONNULL(left.record));
    container->state = KJ_ASSERT_NONNULL(left.state);
    KJ_IF_MAYBE (process, left.process) container->process = kj::mv(*process);
    // Of an earlier boot: nothing of it runs, whatever has its pid now.
    if (!left.sameBoot && !container->state.exited) {
      container->state.exited = true;
      container->state.code = -1;
      container->state.exitedAtNs = env.nowNs();
    }
    co_await adopt(kj::mv(container));
  }
}

Task<void> OciRuntime::adopt(kj::Own<Container> container) {
  auto& entry = containers[container->id];
  entry.container = kj::addRef(*container);
  if (container->state.exited) {
    container->setExited();
    co_return;
  }
  container->stage = Stage::CREATED;
  if (container->state.startedAtNs == 0 && container->process.get() >= 0) {
    // The last run may have ended between the start and its note of it.
    bool started = co_await hasStarted(kj::str(container->id.c_str()));
    if (started) {
      container->state.startedAtNs = env.nowNs();
      co_await saveState(*container);
    }
  }
  if (container->state.startedAtNs != 0) {
    container->stage = Stage::RUNNING;
    auto job = maker;
    auto id = container->id;
    auto healing =
        env.workers().run([job, id] { healLog(job->layout.disk(id), job->layout.bundle(id)); });
    co_await healing;
    startKeepingLogs();
  }
  tasks.add(watch(kj::mv(container)).promise());
}

Task<bool> OciRuntime::hasStarted(kj::String id) {
  auto result = co_await runtimeCommand(kj::str("state"), kj::mv(id), false);
  bool created = strstr(result.output.cStr(), "\"status\": \"created\"") != nullptr;
  co_return result.status == 0 && !created;
}

Task<void> OciRuntime::clear(kj::String id) {
  auto job = maker;
  std::string name = id.cStr();
  auto ending = env.workers().run([job, name] { job->endProcesses(name); });
  co_await ending;
  // The runtime's own state may be as half-made as the rest: then there is nothing for it to do.
  co_await attempt(deleteState(kj::mv(id)));
  auto removing = env.workers().run([job, name] {
    removeTree(job->layout.runtimeState() + "/" + name);
    job->takeAway(name);
  });
  co_await removing;
}

Task<void> OciRuntime::drain() {
  kj::Vector<kj::Promise<void>> underWay;
  for (auto& item : containers) {
    for (auto operation : {&item.second.creating, &item.second.starting, &item.second.removing}) {
      KJ_IF_MAYBE (promise, *operation) {
        underWay.add(promise->addBranch().catch_([](kj::Exception&&) {}));
      }
    }
  }
  auto all = kj::joinPromises(underWay.releaseAsArray());
  co_await all;
  if (!containers.empty()) co_return;
  auto job = maker;
  auto removing = env.workers().run([job] { job->cgroups.removeParent(); });
  co_await removing;
}

}  // namespace orch::runtime
