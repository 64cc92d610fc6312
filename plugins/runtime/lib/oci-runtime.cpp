#include "oci-runtime.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "conmon.h"
#include "etc-files.h"
#include "log-file.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "signals.h"
#include "volumes.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

// conmon writes the exit file a few milliseconds after the end. Past this it is not there any more.
constexpr auto EXIT_FILE_WAIT = 5 * kj::SECONDS;
constexpr int LOST = -1;

// The exit status as conmon left it; null if it left none.
struct SeenExit {
  int code;
  int64_t atNs;
};
kj::Maybe<SeenExit> readExitFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return nullptr;
  auto text = readSmallFile(path.c_str());
  if (text.size() == 0) return nullptr;
  return SeenExit{atoi(text.cStr()),
                  info.st_mtim.tv_sec * int64_t(1'000'000'000) + info.st_mtim.tv_nsec};
}

// The last line that a program wrote: where both runtimes say what is wrong.
kj::String lastLine(kj::StringPtr text) {
  size_t end = text.size();
  while (end > 0 && text[end - 1] == '\n') --end;
  size_t begin = end;
  while (begin > 0 && text[begin - 1] != '\n') --begin;
  return kj::heapString(text.begin() + begin, end - begin);
}

}  // namespace

OciRuntime::OciRuntime(Env& env, Host& host, Options options)
    : env(env),
      host(host),
      maker(std::make_shared<BundleMaker>(Layout::of(host.node()), kj::mv(options))),
      gate(maker->options.parallelism),
      tasks(*this) {}

void OciRuntime::taskFailed(kj::Exception&& exception) {
  host.log().error("runtime.internal", {{"reason", exception.getDescription()}});
}

OciRuntime::Entry& OciRuntime::find(kj::StringPtr id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) fail(kj::str("no such container '", id, "'"));
  return found->second;
}

kj::ForkedPromise<void> OciRuntime::keepGoing(Task<void> operation) {
  auto forked = whileAlive(kj::mv(operation)).fork();
  tasks.add(forked.addBranch().catch_([](kj::Exception&&) {}));
  return forked;
}

// ---- create -------------------------------------------------------------------------------------

Task<kj::Own<Container>> OciRuntime::create(schema::ContainerRequest::Reader request) {
  auto id = kj::str(request.getId());
  if (containers.count(id.cStr()) == 0) {
    // Of just the size: many creations may wait at once.
    auto copy = std::make_shared<capnp::MallocMessageBuilder>(request.totalSize().wordCount + 8);
    copy->setRoot(request);
    auto container = kj::refcounted<Container>(id.cStr());
    auto& entry = containers[id.cStr()];
    entry.container = kj::addRef(*container);
    entry.creating = keepGoing(runCreate(kj::mv(container), kj::mv(copy)));
  }
  auto& entry = find(id);
  auto container = kj::addRef(*entry.container);
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, entry.creating) made = creating->addBranch();
  co_await made;
  co_return kj::mv(container);
}

Task<void> OciRuntime::runCreate(kj::Own<Container> container, Request request) {
  co_await kj::evalLater([] {});  // the entry is complete before anything can fail
  auto pass = co_await gate.enter(Gate::Turn::BEGIN);
  auto made = co_await attempt(make(*container, kj::mv(request)));
  if (made.ok()) {
    tasks.add(watch(kj::addRef(*container)).promise());
    co_return;
  }
  auto id = container->id;
  auto cleared = co_await attempt(clear(kj::str(id.c_str())));
  if (!cleared.ok()) {
    host.log().error("runtime.leftover",
                     {{"container", id.c_str()}, {"reason", cleared.message()}});
  }
  containers.erase(id);
  container->setNeverMade(made.error());
  kj::throwFatalException(kj::mv(made.error()));
}

Task<void> OciRuntime::make(Container& container, Request request) {
  auto job = maker;
  auto id = container.id;
  auto nowNs = env.nowNs();
  auto reader = request->getRoot<schema::ContainerRequest>().asReader();
  bool tty = reader.getSpec().getTty();
  // The job holds `request` for as long as it runs, whoever leaves.
  auto preparing =
      env.workers().run([job, request, reader, nowNs] { return job->prepare(reader, nowNs); });
  auto record = co_await preparing;
  container.load(record);
  auto creating = createWithConmon(env, job->layout, job->options, kj::str(id.c_str()), tty);
  auto limit = job->options.createTimeoutMs;
  auto created = env.timer().timeoutAfter(limit * kj::MILLISECONDS, kj::mv(creating).promise());
  container.state.pid = co_await created;
  container.state.startTicks = startTicks(container.state.pid);
  container.state.bootId = job->bootId;
  KJ_IF_MAYBE (process, openProcess(container.state.pid, container.state.startTicks)) {
    container.process = kj::mv(*process);
  } else {
    fail(kj::str("container '", id.c_str(), "' ended before it was created"));
  }
  co_await saveState(container);
  container.stage = Stage::CREATED;
}

Task<void> OciRuntime::saveState(const Container& container) {
  auto path = maker->layout.state(container.id);
  auto state = container.state;
  auto writing = env.workers().run([path, state] { writeState(path, state); });
  co_await writing;
}

// ---- start, wait, stop --------------------------------------------------------------------------

Task<kj::Own<Container>> OciRuntime::start(kj::String id) {
  auto& entry = find(id);
  auto container = kj::addRef(*entry.container);
  if (entry.starting == nullptr && container->state.startedAtNs == 0) {
    entry.starting = keepGoing(runStart(kj::addRef(*container)));
  }
  kj::Promise<void> started = kj::READY_NOW;
  KJ_IF_MAYBE (starting, entry.starting) started = starting->addBranch();
  co_await started;
  co_return kj::mv(container);
}

Task<void> OciRuntime::runStart(kj::Own<Container> container) {
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, find(container->id.c_str()).creating) made = creating->addBranch();
  co_await made;
  auto pass = co_await gate.enter(Gate::Turn::FINISH);
  if (container->stage == Stage::EXITED) {
    fail(kj::str("container '", container->id.c_str(), "' ended before it was started"));
  }
  auto startedAtNs = env.nowNs();  // before the program can have ended
  auto result = co_await runtimeCommand(kj::str("start"), kj::str(container->id.c_str()), false);
  if (result.status != 0) {
    fail(kj::str(name(), " cannot start container '", container->id.c_str(),
                 "': ", lastLine(result.errors)));
  }
  container->state.startedAtNs = startedAtNs;
  if (container->stage == Stage::CREATED) container->stage = Stage::RUNNING;
  co_await saveState(*container);
  startKeepingLogs();
}

Task<CommandResult> OciRuntime::runtimeCommand(kj::String verb, kj::String id, bool force) {
  ProcessSpec spec;
  spec.argv.add(kj::str(maker->options.program.c_str()));
  spec.argv.add(kj::str("--root"));
  spec.argv.add(kj::str(maker->layout.runtimeState().c_str()));
  spec.argv.add(kj::mv(verb));
  if (force) spec.argv.add(kj::str("--force"));
  spec.argv.add(kj::mv(id));
  spec.env.add(kj::str("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  auto result = co_await env.command(kj::mv(spec));
  co_return kj::mv(result);
}

Task<kj::Own<Container>> OciRuntime::wait(kj::String id) {
  auto container = kj::addRef(*find(id).container);
  co_await container->whenExited();
  co_return kj::mv(container);
}

Task<kj::Own<Container>> OciRuntime::stop(kj::String id, kj::String signal, uint64_t graceMs) {
  auto& entry = find(id);
  auto container = kj::addRef(*entry.container);
  int number = signal.size() > 0 ? signalNumber(signal) : container->stopSignal;
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, entry.creating) made = creating->addBranch();
  co_await made;
  kj::Promise<void> started = kj::READY_NOW;
  auto again = containers.find(container->id);
  if (again != containers.end()) {
    KJ_IF_MAYBE (starting, again->second.starting) started = starting->addBranch();
  }
  co_await attempt(kj::mv(started));
  if (number == 0) number = container->stopSignal;
  // What has not been started has nobody who would hear a signal.
  if (container->stage == Stage::CREATED) number = SIGKILL;
  container->signal(number);
  if (number != SIGKILL) {
    auto grace = env.timer().afterDelay(graceMs * kj::MILLISECONDS);
    co_await container->whenExited().exclusiveJoin(kj::mv(grace));
    container->signal(SIGKILL);
  }
  co_await container->whenExited();
  co_return kj::mv(container);
}

void OciRuntime::kill(kj::StringPtr id, kj::StringPtr signal) {
  auto& container = *find(id).container;
  int number = signalNumber(signal);
  if (!container.lives() || !container.signal(number)) {
    fail(kj::str("container '", id, "' does not run"));
  }
}

Task<void> OciRuntime::watch(kj::Own<Container> container) {
  if (container->process.get() >= 0) co_await env.processes().whenGone(container->process);
  // An exit file may have been there before anybody watched the folder.
  if (access(maker->layout.exitFile(container->id).c_str(), F_OK) != 0) {
    co_await container->whenExitFile().exclusiveJoin(env.timer().afterDelay(EXIT_FILE_WAIT));
  }
  co_await finish(*container);
}

Task<void> OciRuntime::finish(Container& container) {
  // A start that is under way writes the state, too: one after the other.
  kj::Promise<void> started = kj::READY_NOW;
  auto entry = containers.find(container.id);
  if (entry != containers.end()) {
    KJ_IF_MAYBE (starting, entry->second.starting) started = starting->addBranch();
  }
  co_await attempt(kj::mv(started));
  auto job = maker;
  auto id = container.id;
  auto state = container.state;
  state.exited = true;
  state.exitedAtNs = env.nowNs();
  auto reading = env.workers().run([job, id, state]() mutable {
    KJ_IF_MAYBE (seen, readExitFile(job->layout.exitFile(id))) {
      state.code = seen->code;
      // A file's time comes from a coarser clock, up to a tick behind.
      state.exitedAtNs = std::max(seen->atNs, state.startedAtNs);
    } else {
      state.code = LOST;
    }
    state.oomKilled =
        job->cgroups.oomKilled(id) || access((job->layout.bundle(id) + "/oom").c_str(), F_OK) == 0;
    // Removed meanwhile: then nobody asks any more.
    if (access(job->layout.disk(id).c_str(), F_OK) == 0) writeState(job->layout.state(id), state);
    return state;
  });
  container.state = co_await reading;
  container.setExited();
}

// ---- remove -------------------------------------------------------------------------------------

Task<void> OciRuntime::remove(kj::String id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) co_return;
  auto& entry = found->second;
  if (entry.removing == nullptr) {
    entry.removing = keepGoing(runRemove(kj::addRef(*entry.container)));
  }
  kj::Promise<void> removed = kj::READY_NOW;
  KJ_IF_MAYBE (removing, entry.removing) removed = removing->addBranch();
  co_await removed;
}

Task<void> OciRuntime::runRemove(kj::Own<Container> container) {
  co_await kj::evalLater([] {});
  auto id = container->id;
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, find(id.c_str()).creating) made = creating->addBranch();
  auto outcome = co_await attempt(kj::mv(made));
  if (!outcome.ok()) co_return;  // nothing was left of it
  kj::Promise<void> started = kj::READY_NOW;
  KJ_IF_MAYBE (starting, find(id.c_str()).starting) started = starting->addBranch();
  co_await attempt(kj::mv(started));

  auto gone = co_await attempt(takeAway(kj::addRef(*container)));
  if (gone.ok()) {
    containers.erase(id);
    co_return;
  }
  // A later remove tries again.
  find(id.c_str()).removing = nullptr;
  fail(kj::str("cannot remove container '", id.c_str(), "': ", plainText(gone.error())));
}

Task<void> OciRuntime::takeAway(kj::Own<Container> container) {
  if (container->lives()) {
    container->signal(SIGKILL);
    auto limit = maker->options.killTimeoutMs * kj::MILLISECONDS;
    auto exited = env.timer().timeoutAfter(limit, container->whenExited());
    co_await exited;
  }
  auto pass = co_await gate.enter(Gate::Turn::FINISH);
  co_await deleteState(kj::str(container->id.c_str()));
  auto job = maker;
  auto id = container->id;
  auto removing = env.workers().run([job, id] { job->takeAway(id); });
  co_await removing;
}

Task<void> OciRuntime::deleteState(kj::String id) {
  auto path = maker->layout.runtimeState() + "/" + id.cStr();
  if (access(path.c_str(), F_OK) != 0) co_return;
  auto result = co_await runtimeCommand(kj::str("delete"), kj::mv(id), true);
  if (result.status != 0) {
    fail(kj::str(name(), " delete: ", lastLine(result.errors)));
  }
}

// ---- the rest -----------------------------------------------------------------------------------

std::vector<kj::Own<Container>> OciRuntime::list() {
  std::vector<kj::Own<Container>> result;
  for (auto& entry : containers) {
    if (entry.second.container->stage == Stage::CREATING) continue;
    result.push_back(kj::addRef(*entry.second.container));
  }
  return result;
}

std::string OciRuntime::volumePath(const std::string& volume) const {
  return maker->layout.volume(volume) + "/_data";
}

Task<std::vector<OciRuntime::VolumeInfo>> OciRuntime::volumes() {
  auto folder = maker->layout.volumes();
  auto listing = env.workers().run([folder] { return listVolumes(folder); });
  auto names = co_await listing;
  std::vector<VolumeInfo> result;
  for (auto& name : names) {
    bool inUse = false;
    for (auto& entry : containers) {
      auto& used = entry.second.container->volumes;
      inUse = inUse || std::find(used.begin(), used.end(), name) != used.end();
    }
    result.push_back({name, inUse});
  }
  co_return kj::mv(result);
}

Task<void> OciRuntime::removeVolume(kj::String name) {
  if (name.findFirst('/') != nullptr || name.startsWith(".")) {
    fail(kj::str("no such volume '", name, "'"));
  }
  for (auto& entry : containers) {
    for (auto& used : entry.second.container->volumes) {
      if (name == used.c_str()) {
        fail(kj::str("volume '", name, "' is in use by container '", entry.first.c_str(), "'"));
      }
    }
  }
  auto path = maker->layout.volume(name.cStr());
  auto removing = env.workers().run([path] {
    if (access(path.c_str(), F_OK) != 0) return false;
    removeTree(path);
    return true;
  });
  bool found = co_await removing;
  if (!found) fail(kj::str("no such volume '", name, "'"));
}

}  // namespace orch::runtime
