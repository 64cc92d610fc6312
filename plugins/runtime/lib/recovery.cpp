// What OciRuntime does before it serves: look whether it can work here, and take over what is left
// of the last run.
#include <kj/debug.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>

#include "file-access.h"
#include "log-file.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "volumes.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

// A file or folder that was not made by this plugin lies where containers are.
bool isName(const std::string& id) { return !id.empty() && id[0] != '.'; }

std::set<std::string> idsOf(const Layout& layout) {
  std::set<std::string> ids;
  for (auto& folder : {layout.run, layout.containers(), layout.runtimeState()}) {
    for (auto& name : entriesOf(folder)) {
      // crun keeps a cache in `.cache`.
      if (isName(name)) ids.insert(name);
    }
  }
  ids.erase("state");
  ids.erase("exits");
  return ids;
}

void makeLayout(const Layout& layout) {
  for (auto& folder : {layout.containers(), layout.exits(), layout.runtimeState()}) {
    makeFolders(folder);
  }
  // What containers write is theirs; the paths to it are root's.
  for (auto& folder : {layout.data, layout.run}) {
    if (chmod(folder.c_str(), 0711) != 0) failFile("set the mode of", folder, errno);
  }
}

// Exit files of containers that are no more.
void removeStrayExits(const Layout& layout, const std::set<std::string>& ids) {
  for (auto& name : entriesOf(layout.exits())) {
    if (ids.count(name) == 0) unlink((layout.exits() + "/" + name).c_str());
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

// What the last run left of one container.
struct OciRuntime::Left {
  std::string id;
  kj::Maybe<kj::Array<capnp::word>> record;
  kj::Maybe<StateFile> state;
  bool sameBoot = false;
  kj::Maybe<kj::AutoCloseFd> process;
  kj::Maybe<kj::AutoCloseFd> conmon;
  kj::String trouble;  // not empty: it may run, and not enough is known of it
};

namespace {

// The state of a container whose state file is damaged, from what the system knows. Null if that is
// not certain.
kj::Maybe<StateFile> derivedState(const BundleMaker& maker, const std::string& id) {
  StateFile state;
  state.bootId = maker.bootId;
  if (access(maker.layout.bundle(id).c_str(), F_OK) != 0) {
    state.exited = true;
    state.code = -1;
    state.lost = Lost::REBOOT;
    return kj::mv(state);
  }
  auto running = maker.cgroups.processes(id);
  int init = 0;
  KJ_IF_MAYBE (text, readIfThere(maker.layout.pidFile(id))) init = atoi(text->cStr());
  bool runs = std::find(running.begin(), running.end(), init) != running.end();
  if (!runs && !running.empty()) return nullptr;
  if (!runs) return kj::mv(state);  // it has ended: `end` finds out how
  // Whether it has been started is asked from the runtime.
  state.init = {init, startTicks(init)};
  int parent = parentOf(init);
  if (hasArgument(parent, maker.layout.bundle(id))) state.conmon = {parent, startTicks(parent)};
  return kj::mv(state);
}

// Damaged on disk, it is taken from the bundle and written anew.
Kept<kj::Array<capnp::word>> recordOf(const BundleMaker& maker, const std::string& id) {
  auto record = readRecord(maker.layout.record(id));
  if (record.value != nullptr) return record;
  auto copy = readRecord(maker.layout.recordCopy(id));
  if (copy.value == nullptr) return record;
  bool there = access(maker.layout.disk(id).c_str(), F_OK) == 0;
  KJ_IF_MAYBE (words, copy.value) {
    if (there) attemptNow([&] { writeRecord(maker.layout.record(id), *words); });
  }
  return copy;
}

bool mayRun(const BundleMaker& maker, const std::string& id) {
  return access(maker.layout.bundle(id).c_str(), F_OK) == 0 || !maker.cgroups.processes(id).empty();
}

kj::String howToRecover(const BundleMaker& maker, const std::string& id, kj::StringPtr damage) {
  return kj::str("container '", id.c_str(), "' is left alone: ", damage,
                 "; put the file right and restart orchd, or remove the task, which ends what "
                 "still runs in cgroup '",
                 maker.cgroups.pathOf(id).c_str(), "'");
}

}  // namespace

OciRuntime::Left OciRuntime::findLeft(const BundleMaker& maker, const std::string& id) {
  Left left;
  left.id = id;
  auto record = recordOf(maker, id);
  auto state = readState(maker.layout.state(id));
  left.record = kj::mv(record.value);
  left.state = kj::mv(state.value);
  KJ_IF_MAYBE (damage, record.damage) {
    if (left.record == nullptr && mayRun(maker, id))
      left.trouble = howToRecover(maker, id, *damage);
  }
  KJ_IF_MAYBE (damage, state.damage) {
    left.state = derivedState(maker, id);
    if (left.state == nullptr) left.trouble = howToRecover(maker, id, *damage);
  }
  KJ_IF_MAYBE (known, left.state) {
    left.sameBoot = known->bootId == maker.bootId;
    if (left.sameBoot && !known->exited) {
      left.process = openProcess(known->init);
      left.conmon = openProcess(known->conmon);
    }
  }
  return left;
}

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
  auto trying = env.workers().run([] { return whyNoOverlay(); });
  auto why = co_await trying;
  if (why != nullptr) co_return kj::mv(why);
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
    makeLayout(job->layout);
    auto ids = idsOf(job->layout);
    removeStrayExits(job->layout, ids);
    kj::Vector<Left> all;
    for (auto& id : ids) all.add(findLeft(*job, id));
    return all;
  });
  auto all = co_await finding;
  watchExits();
  std::vector<VolumeFolder::Use> uses;
  for (auto& left : all) {
    auto id = left.id;
    co_await takeOver(kj::mv(left));
    auto entry = containers.find(id);
    if (entry != containers.end()) uses.push_back({id, entry->second.container->volumes});
  }
  auto settling = env.workers().run([job, uses] {
    job->volumes.recover(uses);
    return job->volumes.adopt(job->layout.oldVolumes());
  });
  auto settled = co_await attempt(kj::mv(settling));
  if (!settled.ok()) {
    host.log().error("runtime.volumes-unsettled", {{"reason", settled.message()}});
    co_return;
  }
  for (auto& name : settled.value()) {
    host.log().warn("runtime.volume-twice",
                    {{"volume", name.c_str()},
                     {"reason", kj::str("another runtime has one of this name; this one stays in ",
                                        job->layout.oldVolumes().c_str())}});
  }
}

void OciRuntime::watchExits() {
  auto& watcher = inotify.emplace(env.eventPort());
  exits = watcher.watch(maker->layout.exits(), IN_MOVED_TO, [this](kj::StringPtr name) {
    for (auto& entry : containers) {
      auto& container = *entry.second.container;
      // Without a name the kernel dropped events: whoever has a file has ended.
      bool meant = name.size() == 0 ? hasExitFile(container) : name == container.id.c_str();
      if (meant) container.setExitFile();
    }
  });
}

Task<void> OciRuntime::takeOver(Left left) {
  if (left.trouble.size() > 0) {
    leaveAlone(left.id, left.trouble);
    co_return;
  }
  bool whole = left.record != nullptr && left.state != nullptr;
  if (!whole) {
    auto cleared = co_await attempt(clear(kj::str(left.id.c_str())));
    if (!cleared.ok()) {
      host.log().error("runtime.leftover",
                       {{"container", left.id.c_str()}, {"reason", cleared.message()}});
      auto container = kj::refcounted<Container>(left.id);
      container->trouble = cleared.message().cStr();
      containers[left.id].container = kj::mv(container);
    }
    co_return;
  }
  auto container = kj::refcounted<Container>(left.id);
  container->load(KJ_ASSERT_NONNULL(left.record));
  container->state = KJ_ASSERT_NONNULL(left.state);
  KJ_IF_MAYBE (process, left.process) container->process = kj::mv(*process);
  KJ_IF_MAYBE (process, left.conmon) container->conmon = kj::mv(*process);
  // Of an earlier boot: nothing of it runs, whatever has its pid now.
  if (!left.sameBoot && !container->state.exited) {
    container->state.exited = true;
    container->state.code = -1;
    container->state.lost = Lost::REBOOT;
    container->state.exitedAtNs = env.nowNs();
  }
  auto adopted = co_await attempt(adopt(kj::mv(container)));
  if (adopted.ok()) co_return;
  leaveAlone(left.id, kj::str("container '", left.id.c_str(), "' is left alone: ",
                              adopted.message(), "; restart orchd, or remove the task"));
}

void OciRuntime::leaveAlone(std::string id, kj::StringPtr reason) {
  host.log().error("runtime.damaged", {{"container", id.c_str()}, {"reason", reason}});
  auto container = kj::refcounted<Container>(id);
  container->trouble = reason.cStr();
  container->mayRun = true;
  containers[id].container = kj::mv(container);
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
    bool started = co_await hasStarted(kj::addRef(*container));
    if (started) {
      container->state.startedAtNs = env.nowNs();
      saveInTheEnd(*container);
    }
  }
  if (container->state.startedAtNs != 0) {
    container->stage = Stage::RUNNING;
    auto job = maker;
    auto id = container->id;
    auto healing =
        env.workers().run([job, id] { healLog(job->layout.disk(id), job->layout.bundle(id)); });
    co_await healing;
    keepLogOf(*container);
  }
  watch(*container);
}

Task<bool> OciRuntime::hasStarted(kj::Own<Container> container) {
  if (hasBegun(*container)) co_return true;
  auto id = kj::str(container->id.c_str());
  auto result = co_await runtimeCommand(kj::str("state"), kj::mv(id), false);
  bool created = strstr(result.output.cStr(), "\"status\": \"created\"") != nullptr;
  co_return result.status == 0 && !created;
}

Task<void> OciRuntime::drain() {
  draining = true;
  kj::Vector<kj::Promise<void>> underWay;
  for (auto& item : containers) {
    // What waits for something outside may do so for minutes: the next run begins with it anew.
    item.second.container->giveUp();
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
