// Programs that OciRuntime runs in a container that runs.
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "conmon.h"
#include "file-access.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "runner.h"
#include "runner/protocol.h"

namespace orch::runtime {

namespace {

// A runner that has not answered so long after the program's time is over is stopped itself, or
// gets no processor.
constexpr uint64_t ANSWER_PATIENCE_MS = 5'000;
// The kernel ends a container's other processes before its first one is seen to have ended.
constexpr uint64_t END_PATIENCE_MS = 1'000;

std::string configOf(const std::string& bundle) {
  KJ_IF_MAYBE (config, readIfThere(bundle + "/config.json")) return config->cStr();
  fail(kj::str("the container's '", bundle.c_str(), "/config.json' is not there"));
}

}  // namespace

Task<RunResult> OciRuntime::run(kj::String id, std::vector<std::string> command, uint64_t timeoutMs,
                                uint32_t maxOutputBytes) {
  auto container = runningOne(id);
  auto exited = container->whenExited().then(
      []() -> kj::Promise<RunResult> { fail(kj::str("what runs programs in it ended with it")); });
  auto running = runIn(*container, kj::mv(command), timeoutMs, maxOutputBytes)
                     .promise()
                     .exclusiveJoin(kj::mv(exited));
  auto outcome = co_await attempt(kj::mv(running));
  if (outcome.ok()) co_return kj::mv(outcome.value());
  bool programFailed = container->runner.get() != nullptr;
  if (!programFailed) {
    auto end = container->whenExited().exclusiveJoin(afterMs(END_PATIENCE_MS));
    co_await end;
  }
  if (!container->lives()) fail(kj::str("container '", id, "' has ended"));
  kj::throwFatalException(kj::mv(outcome.error()));
}

Task<RunResult> OciRuntime::runIn(Container& container, std::vector<std::string> command,
                                  uint64_t timeoutMs, uint32_t maxOutputBytes) {
  auto runner = kj::mv(container.runner);
  bool usable = runner.get() != nullptr && !runner->hasEnded();
  if (!usable) runner = co_await startRunner(container);
  auto limitMs = timeoutMs + ANSWER_PATIENCE_MS;
  auto late = afterMs(limitMs).then([&runner] {
    runner->kill();
    RunResult result;
    result.exitCode = 128 + SIGKILL;
    result.timedOut = true;
    return result;
  });
  auto running = runner->run(command, timeoutMs, maxOutputBytes).promise();
  auto outcome = co_await attempt(running.exclusiveJoin(kj::mv(late)));
  // Of several that were needed at once one is kept.
  if (runner->isIdle() && container.lives()) container.runner = kj::mv(runner);
  if (!outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));
  co_return kj::mv(outcome.value());
}

Task<kj::Own<Runner>> OciRuntime::startRunner(Container& container) {
  kj::Vector<ProcessSpec::Fd> none;
  auto entered = co_await enter(container, runnerProcess, kj::mv(none));
  co_return kj::heap<Runner>(kj::mv(entered.socket), kj::mv(entered.process));
}

Task<OciRuntime::Entered> OciRuntime::enter(Container& container, WriteProcess writeProcess,
                                            kj::Vector<ProcessSpec::Fd> fds) {
  auto pass = co_await places.enter();
  auto job = maker;
  auto name = kj::str(job->layout.bundle(container.id).c_str(), "/runner.", ++runners);
  std::string file = name.cStr();
  auto bundle = job->layout.bundle(container.id);
  bool first = runnerFile.get() < 0;
  auto writing = env.workers().run([bundle, file, first, writeProcess = std::move(writeProcess)] {
    writeNew(file, kj::StringPtr(writeProcess(configOf(bundle)).c_str()).asBytes());
    return std::make_shared<kj::AutoCloseFd>(first ? runnerProgram() : kj::AutoCloseFd());
  });
  auto program = co_await writing;
  if (runnerFile.get() < 0) runnerFile = kj::mv(*program);
  int ends[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
  kj::AutoCloseFd theirs(ends[1]);
  auto socket =
      env.lowLevelIo().wrapUnixSocketFd(ends[0], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  auto pidFile = file + ".pid";
  ProcessSpec spec;
  auto add = [&](auto&&... parts) { spec.argv.add(kj::str(parts...)); };
  add("exec"), add("--detach"), add("--preserve-fds"), add(1 + fds.size());
  add("--process"), add(name), add("--pid-file"), add(pidFile.c_str());
  spec.fds.add(ProcessSpec::Fd{0, theirs});
  spec.fds.add(ProcessSpec::Fd{RUNNER_PROGRAM_FD, runnerFile});
  for (auto& fd : fds) spec.fds.add(fd);
  auto result = co_await runtimeCommand(kj::mv(spec), kj::str(container.id.c_str()));
  auto looking = env.workers().run([file, pidFile] {
    int pid = 0;
    KJ_IF_MAYBE (text, readIfThere(pidFile)) pid = atoi(text->cStr());
    unlink(file.c_str());
    unlink(pidFile.c_str());
    auto process = openProcess({pid, pid > 0 ? startTicks(pid) : 0});
    auto found = std::make_shared<kj::AutoCloseFd>();
    KJ_IF_MAYBE (one, process) *found = kj::mv(*one);
    return found;
  });
  auto process = co_await looking;
  bool started = result.status == 0 && process->get() >= 0;
  if (!started) {
    fail(kj::str(this->name(), " cannot run a program in container '", container.id.c_str(),
                 "': ", runtimesWords(result.errors)));
  }
  co_return Entered{kj::mv(socket), kj::mv(*process)};
}

}  // namespace orch::runtime
