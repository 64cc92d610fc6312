// What OciRuntime does from a container's last moment on: its exit status, its state on disk, its
// removal.
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "conmon.h"
#include "file-access.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

// conmon writes the exit file a few milliseconds after the end. One that has been stopped is woken.
constexpr uint64_t WAKE_CONMON_MS = 1000;
// docker's grace period, for a container that nobody asked to stop.
constexpr uint64_t GRACE_MS = 10'000;
constexpr uint64_t FIRST_RETRY_MS = 500;
constexpr uint64_t MAX_RETRY_MS = 30'000;
constexpr int LOST_CODE = -1;

// The exit status as conmon left it; null if it left none.
struct SeenExit {
  int code;
  int64_t atNs;
};
kj::Maybe<SeenExit> readExitFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return nullptr;
  KJ_IF_MAYBE (text, readIfThere(path)) {
    if (text->size() == 0) return nullptr;
    return SeenExit{atoi(text->cStr()),
                    info.st_mtim.tv_sec * int64_t(1'000'000'000) + info.st_mtim.tv_nsec};
  }
  return nullptr;
}

}  // namespace

// ---- the end ------------------------------------------------------------------------------------

void OciRuntime::watch(Container& container) {
  kj::Promise<void> gone = kj::READY_NOW;
  // Without a conmon, or without a process, there is nothing to wait for.
  if (container.process.get() >= 0 && container.conmon.get() >= 0) {
    gone = env.processes()
               .whenGone(container.process)
               .exclusiveJoin(env.processes().whenGone(container.conmon));
  }
  tasks.add(gone.then([this, container = kj::addRef(container)]() mutable {
    return end(kj::mv(container)).promise();
  }));
}

bool OciRuntime::hasExitFile(const Container& container) const {
  return access(maker->layout.exitFile(container.id).c_str(), F_OK) == 0;
}

Task<void> OciRuntime::end(kj::Own<Container> container) {
  bool lives = container->process.get() >= 0 && !hasEnded(container->process);
  if (lives && !hasExitFile(*container)) {
    co_await endWithoutConmon(kj::addRef(*container));
  } else {
    co_await waitForExitFile(kj::addRef(*container));
  }
  // A start that is under way writes the state, too: one after the other.
  kj::Promise<void> started = kj::READY_NOW;
  auto entry = containers.find(container->id);
  if (entry != containers.end()) {
    KJ_IF_MAYBE (starting, entry->second.starting) started = starting->addBranch();
  }
  co_await attempt(kj::mv(started));
  co_await noteExit(kj::mv(container));
}

// Nobody reads its output and nobody would learn of its end.
Task<void> OciRuntime::endWithoutConmon(kj::Own<Container> container) {
  host.log().error("runtime.conmon-ended",
                   {{"container", container->id.c_str()},
                    {"reason", "its conmon ended; log and exit status are lost, it is stopped"}});
  auto gone = env.processes().whenGone(container->process).fork();
  container->signal(container->stage == Stage::RUNNING ? container->stopSignal : SIGKILL);
  auto first = gone.addBranch().exclusiveJoin(afterMs(GRACE_MS));
  co_await first;
  container->signal(SIGKILL);
  auto last = gone.addBranch();
  co_await last;
}

Task<void> OciRuntime::waitForExitFile(kj::Own<Container> container) {
  // An exit file may have been there before anybody watched the folder.
  if (container->conmon.get() < 0 || hasExitFile(*container)) co_return;
  auto gone = env.processes().whenGone(container->conmon);
  auto settled = container->whenExitFile().exclusiveJoin(kj::mv(gone)).fork();
  auto first = settled.addBranch().exclusiveJoin(afterMs(WAKE_CONMON_MS));
  co_await first;
  sendSignal(container->conmon, SIGCONT);
  auto last = settled.addBranch();
  co_await last;
}

Task<void> OciRuntime::noteExit(kj::Own<Container> container) {
  auto job = maker;
  auto id = container->id;
  auto state = container->state;
  state.exited = true;
  state.exitedAtNs = env.nowNs();
  auto reading = env.workers().run([job, id, state]() mutable {
    auto read = attemptNow([&] { return readExitFile(job->layout.exitFile(id)); });
    kj::Maybe<SeenExit> seen;
    if (read.ok()) seen = read.value();
    KJ_IF_MAYBE (exit, seen) {
      state.code = exit->code;
      // A file's time comes from a coarser clock, up to a tick behind.
      state.exitedAtNs = std::max(exit->atNs, state.startedAtNs);
    } else {
      state.code = LOST_CODE;
      state.lost = Lost::CONMON;
    }
    state.oomKilled =
        job->cgroups.oomKilled(id) || access((job->layout.bundle(id) + "/oom").c_str(), F_OK) == 0;
    return state;
  });
  container->state = co_await reading;
  // Known from now on; the exit file keeps it until the disk has it.
  container->setExited();
  saveInTheEnd(*container);
}

// ---- the state on disk --------------------------------------------------------------------------

Task<void> OciRuntime::saveState(const Container& container) {
  auto path = maker->layout.state(container.id);
  auto state = container.state;
  auto writing = env.workers().run([path, state] { writeState(path, state); });
  co_await writing;
}

void OciRuntime::saveInTheEnd(Container& container) {
  container.unsaved = true;
  if (container.saving) return;
  container.saving = true;
  tasks.add(keepSaving(kj::addRef(container)).promise());
}

Task<void> OciRuntime::keepSaving(kj::Own<Container> container) {
  uint64_t pauseMs = FIRST_RETRY_MS;
  while (container->unsaved && !container->removed) {
    container->unsaved = false;
    container->writing = true;
    auto saved = co_await attempt(saveState(*container));
    container->setWritten();
    if (saved.ok() || container->removed) continue;
    container->unsaved = true;
    if (pauseMs == FIRST_RETRY_MS) {
      host.log().warn("runtime.state-not-saved",
                      {{"container", container->id.c_str()},
                       {"reason", kj::str(saved.message(), ", retrying until it works")}});
    }
    co_await afterMs(pauseMs);
    pauseMs = kj::min(2 * pauseMs, MAX_RETRY_MS);
  }
  container->saving = false;
}

// ---- remove -------------------------------------------------------------------------------------

Task<void> OciRuntime::remove(kj::String id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) co_return;
  auto& entry = found->second;
  entry.container->giveUp();
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
  KJ_IF_MAYBE (creating, containers.at(id).creating) made = creating->addBranch();
  co_await attempt(kj::mv(made));
  auto entry = containers.find(id);
  if (entry == containers.end()) co_return;  // it could not be made, and nothing was left of it
  kj::Promise<void> started = kj::READY_NOW;
  KJ_IF_MAYBE (starting, entry->second.starting) started = starting->addBranch();
  co_await attempt(kj::mv(started));

  bool whole = container->trouble.empty();
  auto taking = whole ? takeAway(kj::addRef(*container)) : clear(kj::str(id.c_str()));
  auto gone = co_await attempt(kj::mv(taking));
  if (gone.ok()) {
    containers.erase(id);
    co_return;
  }
  // A later remove tries again.
  container->removed = false;
  containers.at(id).removing = nullptr;
  fail(kj::str("cannot remove container '", id.c_str(), "': ", plainText(gone.error())));
}

Task<void> OciRuntime::takeAway(kj::Own<Container> container) {
  auto limit = maker->options.killTimeoutMs;
  if (container->lives()) {
    container->signal(SIGKILL);
    auto exited = container->whenExited().exclusiveJoin(afterMs(limit));
    co_await exited;
  }
  // A conmon that does not tell the exit status is no reason to keep the container.
  bool ended = container->process.get() < 0 || hasEnded(container->process);
  if (container->lives() && ended) {
    sendSignal(container->conmon, SIGKILL);
    auto exited = container->whenExited().exclusiveJoin(afterMs(limit));
    co_await exited;
  }
  if (container->lives()) {
    fail(kj::str("its process ", container->state.init.pid, " has not ended within ", limit,
                 " ms after SIGKILL"));
  }
  container->removed = true;
  co_await container->whenWritten();
  co_await endConmon(kj::addRef(*container));
  kj::Maybe<Semaphore::Pass> pass = co_await places.enter(Semaphore::Turn::FIRST);
  auto slow = passOnIfSlow(pass);
  auto job = maker;
  auto id = container->id;
  // Of crun and runc only a folder is left, once the processes are gone: to have it removed would
  // cost as much as half a creation. Another program may keep more.
  if (!job->options.isItself()) co_await deleteState(kj::str(id.c_str()));
  auto removing = env.workers().run([job, id] {
    removeTree(job->layout.runtimeState() + "/" + id);
    job->takeAway(id);
  });
  co_await removing;
}

// It ends by itself when it has written the exit file, unless somebody has stopped it.
Task<void> OciRuntime::endConmon(kj::Own<Container> container) {
  if (container->conmon.get() < 0 && container->state.bootId == maker->bootId.c_str()) {
    KJ_IF_MAYBE (process, openProcess(container->state.conmon)) {
      container->conmon = kj::mv(*process);
    }
  }
  if (container->conmon.get() < 0) co_return;
  if (!hasEnded(container->conmon)) {
    sendSignal(container->conmon, SIGKILL);
    auto limit = afterMs(maker->options.killTimeoutMs);
    auto gone = env.processes().whenGone(container->conmon).exclusiveJoin(kj::mv(limit));
    co_await gone;
  }
  container->conmon = nullptr;
}

Task<void> OciRuntime::deleteState(kj::String id) {
  auto path = maker->layout.runtimeState() + "/" + id.cStr();
  if (access(path.c_str(), F_OK) != 0) co_return;
  auto result = co_await runtimeCommand(kj::str("delete"), kj::mv(id), true);
  if (result.status != 0) {
    fail(kj::str(name(), " delete: ", runtimesWords(result.errors)));
  }
}

}  // namespace orch::runtime
