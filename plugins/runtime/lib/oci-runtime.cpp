#include "oci-runtime.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include <algorithm>
#include <csignal>

#include "conmon.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "signals.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

}  // namespace

kj::String lastLine(kj::StringPtr text) {
  size_t end = text.size();
  while (end > 0 && text[end - 1] == '\n') --end;
  size_t begin = end;
  while (begin > 0 && text[begin - 1] != '\n') --begin;
  return kj::heapString(text.begin() + begin, end - begin);
}

OciRuntime::OciRuntime(Env& env, Host& host, Options options)
    : env(env),
      host(host),
      maker(std::make_shared<BundleMaker>(Layout::of(host.node()), kj::mv(options),
                                          host.node().instance.cStr())),
      places(maker->options.parallelism, "too many containers wait for the runtime"_kj),
      tasks(*this) {}

void OciRuntime::taskFailed(kj::Exception&& exception) {
  host.log().error("runtime.internal", {{"reason", exception.getDescription()}});
}

OciRuntime::Entry& OciRuntime::find(kj::StringPtr id) {
  auto found = containers.find(id.cStr());
  if (found == containers.end()) fail(kj::str("no such container '", id, "'"));
  auto& trouble = found->second.container->trouble;
  if (!trouble.empty()) fail(kj::str(trouble.c_str()));
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
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, entry.creating) made = creating->addBranch();
  co_await made;
  co_return kj::mv(container);
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
  auto made = co_await attempt(make(*container, kj::mv(request)));
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

Task<void> OciRuntime::make(Container& container, Request request) {
  auto job = maker;
  auto id = container.id;
  auto nowNs = env.nowNs();
  auto reader = request->getRoot<schema::ContainerRequest>().asReader();
  bool tty = reader.getSpec().getTty();
  // The job holds `request` for as long as it runs, whoever leaves.
  auto preparing =
      env.workers().run([job, request, reader, nowNs] { return job->prepare(reader, nowNs); });
  request = nullptr;
  auto record = co_await preparing;
  container.load(record);
  record = nullptr;
  auto& options = job->options;
  auto creating = createWithConmon(env, job->layout, options, kj::str(id.c_str()), tty).promise();
  auto late = afterMs(options.createTimeoutMs).then([&options, id]() -> kj::Promise<int> {
    fail(kj::str(options.name.c_str(), " has not created container '", id.c_str(), "' within ",
                 options.createTimeoutMs, " ms; is the node overloaded, or a disk hanging?"));
  });
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
  co_await saveState(container);
  container.stage = Stage::CREATED;
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
  // Nobody asks for it again: the state says that it has been started.
  auto again = containers.find(id.cStr());
  if (again != containers.end() && again->second.container.get() == container.get()) {
    again->second.creating = nullptr;
    again->second.starting = nullptr;
  }
  co_return kj::mv(container);
}

Task<void> OciRuntime::runStart(kj::Own<Container> container) {
  kj::Promise<void> made = kj::READY_NOW;
  KJ_IF_MAYBE (creating, find(container->id.c_str()).creating) made = creating->addBranch();
  co_await made;
  auto pass = co_await places.enter(Semaphore::Turn::FIRST);
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
  keepLogOf(*container);
  // It runs, whatever the disk says: `recover` finds out if it has to.
  auto saved = co_await attempt(saveState(*container));
  if (!saved.ok()) saveInTheEnd(*container);
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
  auto limit = maker->options.commandTimeoutMs;
  auto what = kj::str(name(), " ", spec.argv[3]);
  auto late =
      afterMs(limit).then([limit, what = kj::mv(what)]() mutable -> kj::Promise<CommandResult> {
        fail(kj::str(what, " has not ended within ", limit,
                     " ms and was given up; is the node overloaded, or a disk hanging?"));
      });
  auto first = env.command(kj::mv(spec)).promise().exclusiveJoin(kj::mv(late));
  auto result = co_await first;
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
    auto grace = container->whenExited().exclusiveJoin(afterMs(graceMs));
    co_await grace;
    container->signal(SIGKILL);
  }
  auto limit = maker->options.killTimeoutMs;
  auto exited = container->whenExited().exclusiveJoin(afterMs(limit));
  co_await exited;
  if (container->stage != Stage::EXITED) {
    fail(kj::str("container '", container->id.c_str(), "' has not ended within ", limit,
                 " ms after SIGKILL: its process ", container->state.init.pid, " or its conmon ",
                 container->state.conmon.pid, " may hang on a disk or a network file system"));
  }
  co_return kj::mv(container);
}

// ---- the rest -----------------------------------------------------------------------------------

std::vector<kj::Own<Container>> OciRuntime::list() {
  std::vector<kj::Own<Container>> result;
  for (auto& entry : containers) {
    auto& container = *entry.second.container;
    if (container.stage == Stage::CREATING && !container.mayRun) continue;
    result.push_back(kj::addRef(*entry.second.container));
  }
  return result;
}

Task<std::vector<VolumeInfo>> OciRuntime::volumes() {
  auto job = maker;
  auto listing = env.workers().run([job] { return job->volumes.list(); });
  auto result = co_await listing;
  co_return kj::mv(result);
}

Task<bool> OciRuntime::removeVolume(kj::String name) {
  auto job = maker;
  std::string volume = name.cStr();
  bool possible = volume.find('/') == std::string::npos && !volume.empty() && volume[0] != '.';
  if (!possible) co_return false;
  auto removing = env.workers().run([job, volume] { return job->volumes.remove(volume); });
  co_return co_await removing;
}

Task<std::vector<std::string>> OciRuntime::pruneVolumes() {
  auto job = maker;
  auto removing = env.workers().run([job] { return job->volumes.prune(); });
  auto removed = co_await removing;
  co_return kj::mv(removed);
}

}  // namespace orch::runtime
