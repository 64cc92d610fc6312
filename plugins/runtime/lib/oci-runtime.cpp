#include "oci-runtime.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <unistd.h>

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

// After which it is looked at what keeps a start.
constexpr kj::Duration LONG_START = 1 * kj::SECONDS;

}  // namespace

OciRuntime::OciRuntime(Env& env, Host& host, Options options)
    : env(env),
      host(host),
      maker(std::make_shared<BundleMaker>(Layout::of(host.node()), kj::mv(options),
                                          host.node().instance.cStr())),
      places(maker->options.parallelism, "too many containers wait for the runtime"_kj),
      sources(env),
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

kj::Own<Container> OciRuntime::runningOne(kj::StringPtr id) {
  auto container = kj::addRef(*find(id).container);
  if (container->stage != Stage::RUNNING) fail(kj::str("container '", id, "' does not run"));
  return container;
}

kj::ForkedPromise<void> OciRuntime::keepGoing(Task<void> operation) {
  auto forked = whileAlive(kj::mv(operation)).fork();
  tasks.add(forked.addBranch().catch_([](kj::Exception&&) {}));
  return forked;
}

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
  kj::Maybe<Semaphore::Pass> pass = co_await places.enter(Semaphore::Turn::FIRST);
  auto slow = passOnIfSlow(pass);
  auto ended = kj::str("container '", container->id.c_str(), "' ended before it was started");
  if (container->stage == Stage::EXITED) fail(kj::mv(ended));
  auto startedAtNs = env.nowNs();  // before the program can have ended
  auto command = runtimeCommand(kj::str("start"), kj::str(container->id.c_str()), false).promise();
  auto result = co_await command.exclusiveJoin(whenBegun(kj::addRef(*container)).promise());
  // One of the last run may have been quicker: this one has failed then, and not always says why.
  if (result.status != 0 && !hasBegun(*container)) {
    auto words = runtimesWords(result.errors);
    // crun's init can end itself when a start comes after one that was killed half-way, and the
    // start has nothing to say of it.
    if (words.size() == 0 && !runs(*container)) fail(kj::mv(ended));
    fail(kj::str(name(), " cannot start container '", container->id.c_str(), "': ", words));
  }
  container->state.startedAtNs = startedAtNs;
  if (container->stage == Stage::CREATED) container->stage = Stage::RUNNING;
  keepLogOf(*container);
  // It runs, whatever the disk says: `recover` finds out if it has to.
  auto saved = co_await attempt(saveState(*container));
  if (!saved.ok()) saveInTheEnd(*container);
}

// A `start` that was ended between letting the program go and taking away the pipe that it waited
// at leaves the container created in the runtime's eyes: the next one waits at the pipe for ever.
Task<CommandResult> OciRuntime::whenBegun(kj::Own<Container> container) {
  do {
    co_await env.timer().afterDelay(LONG_START);
  } while (!hasBegun(*container));
  co_return CommandResult{};
}

bool OciRuntime::runs(const Container& container) const {
  return container.process.get() >= 0 && !hasEnded(container.process.get());
}

bool OciRuntime::hasBegun(const Container& container) const {
  auto pipe = maker->layout.startPipe(container.id);
  bool waits = access(pipe.c_str(), F_OK) == 0 && hasOpen(container.state.init.pid, pipe);
  return runs(container) && !waits;
}

Task<CommandResult> OciRuntime::runtimeCommand(kj::String verb, kj::String id, bool force) {
  ProcessSpec spec;
  spec.argv.add(kj::mv(verb));
  if (force) spec.argv.add(kj::str("--force"));
  return runtimeCommand(kj::mv(spec), kj::mv(id));
}

Task<CommandResult> OciRuntime::runtimeCommand(ProcessSpec spec, kj::String id) {
  kj::Vector<kj::String> argv;
  argv.add(kj::str(maker->options.program.c_str()));
  argv.add(kj::str("--root"));
  argv.add(kj::str(maker->layout.runtimeState().c_str()));
  for (auto& word : spec.argv) argv.add(kj::mv(word));
  argv.add(kj::mv(id));
  spec.argv = kj::mv(argv);
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
  container->giveUp();
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
