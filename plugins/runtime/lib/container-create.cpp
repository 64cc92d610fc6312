// What OciRuntime does to make a container, up to the point before the user's program.
#include <capnp/message.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include "conmon.h"
#include "file-access.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"

namespace orch::runtime {

namespace {

using Needs = Preparation::Needs;

constexpr uint64_t FIRST_LOOK_AGAIN_MS = 50;
constexpr uint64_t MOST_LOOK_AGAIN_MS = 1000;
constexpr unsigned MAX_KILL_ROUNDS = 10;
// Others get the place of one that takes longer: it waits for something, and does not work.
constexpr uint64_t SLOW_MS = 5000;

}  // namespace

// A wait of a container that is being made for something outside: says for how long, ends at the
// deadline, or when nobody wants the container any more.
class OciRuntime::Patience final {
 public:
  // `what`: `the volume 'db'`; `why`: `it has been locked`.
  Patience(OciRuntime& runtime, Container& container, kj::String what, kj::StringPtr why)
      : runtime(runtime),
        container(container),
        what(kj::mv(what)),
        why(why),
        begin(runtime.env.timer().now()) {}
  // Dropped with the runtime, it tells nobody: there may be no loop any more.
  ~Patience() { container.waitsFor.clear(); }

  // It was worth it.
  void end() { runtime.sayWaiting(container, nullptr); }
  // Settles when it is time to look again.
  kj::Promise<void> pause() {
    auto ms = pauseMs;
    pauseMs = kj::min(2 * pauseMs, MOST_LOOK_AGAIN_MS);
    return runtime.afterMs(ms).exclusiveJoin(container.whenGivenUp());
  }
  // To be called after a pause that was in vain.
  void check() {
    runtime.refuseIfDraining(container.id.c_str());
    if (container.isGivenUp()) {
      fail(kj::str("container '", container.id.c_str(), "' was given up while it waited for ",
                   what));
    }
    uint64_t waitedMs = (runtime.env.timer().now() - begin) / kj::MILLISECONDS;
    uint64_t limit = runtime.maker->options.prepareTimeoutMs;
    if (waitedMs >= limit) {
      fail(kj::str("gave up to wait for ", what, ": ", why, " for ", waitedMs / 1000,
                   " s (prepareTimeoutMs is ", limit, ")"));
    }
    if (waitedMs < sayAtMs) return;
    // After one second, two, four, and then every minute.
    while (sayAtMs <= waitedMs) sayAtMs += kj::min(sayAtMs, uint64_t(60'000));
    runtime.sayWaiting(container,
                       kj::str("waits for ", what, ": ", why, " for ", waitedMs / 1000, " s"));
  }

 private:
  OciRuntime& runtime;
  Container& container;
  kj::String what;
  kj::StringPtr why;
  kj::TimePoint begin;
  uint64_t pauseMs = FIRST_LOOK_AGAIN_MS;
  uint64_t sayAtMs = 1000;
};

Task<kj::Own<Container>> OciRuntime::create(schema::ContainerRequest::Reader request,
                                            kj::Maybe<schema::Waiting::Client> listener) {
  auto id = kj::str(request.getId());
  refuseIfDraining(id);
  // What could not be cleared away may be by now.
  auto there = containers.find(id.cStr());
  bool leftover = there != containers.end() && !there->second.container->trouble.empty() &&
                  !there->second.container->mayRun;
  if (leftover) co_await remove(kj::str(id));
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
  KJ_IF_MAYBE (client, listener) {
    if (container->stage == Container::Stage::CREATING) container->listeners.add(kj::mv(*client));
  }
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, entry.creating) made = creating->addBranch();
  co_await made;
  co_return kj::mv(container);
}

void OciRuntime::refuseIfDraining(kj::StringPtr id) {
  if (!draining) return;
  kj::throwFatalException(KJ_EXCEPTION(
      DISCONNECTED, kj::str("container '", id, "' is not made now: the runtime is stopping")));
}

Task<void> OciRuntime::runCreate(kj::Own<Container> container, Request request) {
  co_await kj::evalLater([] {});  // the entry is complete before anything can fail
  auto id = container->id;
  auto entered = co_await attempt(places.enter());
  if (!entered.ok()) {
    containers.erase(id);
    container->setNeverMade(entered.error());
    kj::throwFatalException(kj::mv(entered.error()));
  }
  auto made = co_await attempt(make(*container, kj::mv(request), kj::mv(entered.value())));
  container->listeners.clear();
  if (made.ok()) {
    watch(*container);
    co_return;
  }
  auto cleared = co_await attempt(clear(kj::str(id.c_str())));
  if (cleared.ok()) {
    containers.erase(id);
  } else {
    host.log().error("runtime.leftover",
                     {{"container", id.c_str()}, {"reason", cleared.message()}});
    container->trouble = made.message().cStr();
  }
  container->setNeverMade(made.error());
  kj::throwFatalException(kj::mv(made.error()));
}

Task<void> OciRuntime::make(Container& container, Request request,
                            kj::Maybe<Semaphore::Pass> pass) {
  auto job = maker;
  auto nowNs = env.nowNs();
  auto checking = env.workers().run([job, request, nowNs] {
    auto preparation = job->check(request, nowNs);
    if (preparation->unseen.empty()) job->proceed(*preparation, false);
    return preparation;
  });
  request = nullptr;
  auto preparation = co_await checking;
  if (!preparation->unseen.empty()) {
    pass = nullptr;  // whoever waits takes no place
    co_await seeSources(container, *preparation);
    auto again = co_await places.enter();
    pass = kj::mv(again);
    co_await proceed(preparation, false);
  }
  if (preparation->needs != Needs::NOTHING) {
    pass = nullptr;
    co_await fillVolumes(container, preparation);
    auto again = co_await places.enter();
    pass = kj::mv(again);
  }
  container.load(preparation->record);
  preparation->record = nullptr;
  auto running = co_await attempt(runConmon(container, pass));
  if (!running.ok()) {
    auto looking =
        env.workers().run([job, preparation] { return job->whyNotCreated(*preparation); });
    auto why = co_await looking;
    KJ_IF_MAYBE (reason, why) fail(kj::mv(*reason));
    kj::throwFatalException(kj::mv(running.error()));
  }
  co_await saveState(container);
  container.stage = Container::Stage::CREATED;
}

Task<void> OciRuntime::seeSources(Container& container, Preparation& preparation) {
  for (auto& source : preparation.unseen) {
    Patience patience(*this, container, kj::str("the mount source '", source.c_str(), "'"),
                      "it has not answered");
    unsigned mode = 0;
    auto answer = sources.look(source).then([&mode](unsigned seen) { mode = seen; });
    co_await waitFor(kj::mv(answer), patience);
    for (auto& mount : preparation.checked.mounts) {
      bool meant = mount.kind == CheckedMount::Kind::BIND && mount.source == source;
      if (meant) mount.isFolder = S_ISDIR(mode);
    }
  }
}

Task<void> OciRuntime::fillVolumes(Container& container, std::shared_ptr<Preparation> preparation) {
  while (preparation->needs != Needs::NOTHING) {
    if (preparation->needs == Needs::VOLUME) {
      auto what = kj::str("the volume '", preparation->volume.c_str(), "'");
      Patience patience(*this, container, kj::mv(what), "it has been locked");
      while (preparation->needs == Needs::VOLUME) {
        co_await patience.pause();
        patience.check();
        co_await proceed(preparation, false);
      }
      patience.end();
      continue;
    }
    Patience patience(*this, container, kj::str("its turn to fill a volume"),
                      "others have been at it");
    kj::Maybe<Semaphore::Pass> turn;
    auto entering = copying.enter().then([&turn](Semaphore::Pass&& pass) { turn = kj::mv(pass); });
    co_await waitFor(kj::mv(entering), patience);
    co_await proceed(preparation, true);
  }
}

Task<void> OciRuntime::waitFor(kj::Promise<void> event, Patience& patience) {
  auto happened = event.fork();
  for (;;) {
    auto first = happened.addBranch().then([] { return true; });
    bool over = co_await first.exclusiveJoin(patience.pause().then([] { return false; }));
    if (over) break;
    patience.check();
  }
  co_await happened.addBranch();
  patience.end();
}

kj::Promise<void> OciRuntime::proceed(std::shared_ptr<Preparation> preparation, bool mayCopy) {
  auto job = maker;
  return env.workers().run([job, preparation, mayCopy] { job->proceed(*preparation, mayCopy); });
}

Task<void> OciRuntime::runConmon(Container& container, kj::Maybe<Semaphore::Pass>& pass) {
  auto job = maker;
  auto id = container.id;
  auto& options = job->options;
  Stdio stdio{container.hasTerminal, container.isInteractive};
  auto creating = createWithConmon(env, job->layout, options, kj::str(id.c_str()), stdio).promise();
  auto late = afterMs(options.createTimeoutMs).then([&options, id]() -> kj::Promise<int> {
    fail(kj::str(options.name.c_str(), " has not created container '", id.c_str(), "' within ",
                 options.createTimeoutMs, " ms; is the node overloaded, or a disk hanging?"));
  });
  auto slow = passOnIfSlow(pass);
  auto created = creating.exclusiveJoin(kj::mv(late));
  auto& init = container.state.init;
  init.pid = co_await created;
  init.startTicks = startTicks(init.pid);
  container.state.bootId = job->bootId;
  KJ_IF_MAYBE (process, openProcess(init)) {
    container.process = kj::mv(*process);
  } else {
    fail(kj::str("container '", id.c_str(), "' ended before it was created"));
  }
  // The init's parent by now: conmon is the reaper of what it starts.
  auto& conmon = container.state.conmon;
  conmon.pid = parentOf(init.pid);
  if (hasArgument(conmon.pid, job->layout.bundle(id))) {
    conmon.startTicks = startTicks(conmon.pid);
    KJ_IF_MAYBE (process, openProcess(conmon)) container.conmon = kj::mv(*process);
  }
  if (container.conmon.get() < 0) {
    fail(kj::str("the conmon of container '", id.c_str(), "' ended before it was started"));
  }
}

kj::Promise<void> OciRuntime::passOnIfSlow(kj::Maybe<Semaphore::Pass>& pass) {
  return afterMs(SLOW_MS).then([&pass] { pass = nullptr; }).eagerlyEvaluate(nullptr);
}

void OciRuntime::sayWaiting(Container& container, kj::StringPtr reason) {
  if (container.waitsFor == reason.cStr()) return;
  container.waitsFor = reason.cStr();
  for (auto& listener : container.listeners) {
    auto request = listener.becauseRequest();
    request.setReason(reason);
    tasks.add(request.send().ignoreResult().catch_([](kj::Exception&&) {}));  // he has gone
  }
}

// ---- what is half-made --------------------------------------------------------------------------

Task<void> OciRuntime::clear(kj::String id) {
  auto job = maker;
  std::string name = id.cStr();
  co_await endProcesses(name);
  // The runtime's own state may be as half-made as the rest: then there is nothing for it to do.
  co_await attempt(deleteState(kj::mv(id)));
  auto removing = env.workers().run([job, name] {
    removeTree(job->layout.runtimeState() + "/" + name);
    job->takeAway(name);
  });
  co_await removing;
}

Task<void> OciRuntime::endProcesses(std::string id) {
  auto job = maker;
  for (unsigned round = 0; round < MAX_KILL_ROUNDS; ++round) {
    auto killing = env.workers().run([job, id] {
      return std::make_shared<std::vector<kj::AutoCloseFd>>(job->killProcesses(id));
    });
    auto killed = co_await killing;
    if (killed->empty()) co_return;
    kj::Vector<kj::Promise<void>> gone;
    for (auto& process : *killed) gone.add(env.processes().whenGone(process));
    auto all = kj::joinPromises(gone.releaseAsArray()).then([] { return true; });
    auto limit = afterMs(job->options.killTimeoutMs).then([] { return false; });
    bool ended = co_await all.exclusiveJoin(kj::mv(limit));
    if (!ended) {
      fail(kj::str("something of container '", id.c_str(), "' has not ended within ",
                   job->options.killTimeoutMs,
                   " ms after SIGKILL; does a file system that it uses hang?"));
    }
  }
}

}  // namespace orch::runtime
