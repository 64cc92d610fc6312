#include "child.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::image::oci {

namespace {

constexpr size_t MAX_LINE = 4096;
constexpr size_t MAX_ERRORS = 16 << 10;
constexpr size_t BUFFER = 4096;

Task<void> readLines(kj::Own<kj::AsyncInputStream> stream,
                     kj::Function<void(kj::StringPtr)> onLine) {
  auto buffer = kj::heapArray<char>(BUFFER);
  std::string line;
  for (;;) {
    size_t n = co_await stream->tryRead(buffer.begin(), 1, buffer.size());
    if (n == 0) break;
    for (char c : buffer.slice(0, n)) {
      if (c == '\n') {
        onLine(line.c_str());
        line.clear();
      } else if (line.size() < MAX_LINE) {
        line += c;
      }
    }
  }
  if (!line.empty()) onLine(line.c_str());
}

Task<kj::String> readTail(kj::Own<kj::AsyncInputStream> stream) {
  auto buffer = kj::heapArray<char>(BUFFER);
  std::string text;
  for (;;) {
    size_t n = co_await stream->tryRead(buffer.begin(), 1, buffer.size());
    if (n == 0) break;
    text.append(buffer.begin(), n);
    if (text.size() > MAX_ERRORS) text.erase(0, text.size() - MAX_ERRORS);
  }
  co_return kj::heapString(text.data(), text.size());
}

}  // namespace

Job::Job(Env& env, kj::TaskSet& cleaners, std::string folder, kj::Own<JobGate::Pass> pass)
    : env(env), cleaners(cleaners), path(kj::mv(folder)), pass(kj::mv(pass)) {}

Job::~Job() noexcept(false) {
  if (pass != nullptr) cleaners.add(clean());
}

kj::Promise<void> Job::clean() {
  kj::Promise<void> ended = kj::READY_NOW;
  KJ_IF_MAYBE (making, made) {
    ended = making->addBranch().catch_([](kj::Exception&&) {});  // it is not there
  }
  KJ_IF_MAYBE (running, child) {
    // Also one that has been started and that nobody has seen yet.
    ended = (*running)->started.addBranch().then(
        [&child = **running]() -> kj::Promise<void> {
          KJ_ASSERT_NONNULL(child.process)->signal(SIGKILL);  // one that has ended is left alone
          return KJ_ASSERT_NONNULL(child.exit).addBranch().ignoreResult();
        },
        [](kj::Exception&&) {});  // it never ran
    ended = ended.attach(kj::mv(*running));
    child = nullptr;
  }
  auto held = kj::mv(KJ_ASSERT_NONNULL(pass));
  pass = nullptr;
  return ended
      .then([&workers = env.workers(), path = path]() {
        return workers.run([path]() { removeTree(path); });
      })
      .attach(kj::mv(held));
}

kj::Promise<void> Job::finish() {
  if (pass == nullptr) return kj::READY_NOW;
  // Whoever waits may go away; the cleaning goes on.
  auto done = clean().fork();
  cleaners.add(done.addBranch());
  return done.addBranch().catch_([](kj::Exception&&) {});
}

Task<void> Job::prepare() {
  auto make = [path = path]() {
    if (mkdir(path.c_str(), 0700) < 0) {
      fail(kj::str("cannot make the folder '", path.c_str(), "': ", strerror(errno)));
    }
  };
  // From here on `clean` knows of it, whether or not this call is still wanted when it is there.
  auto& making = made.emplace(env.workers().run(kj::mv(make)).fork());
  co_await making.addBranch();
}

Task<ChildResult> Job::run(ProcessSpec spec, kj::Function<void(kj::StringPtr)> onLine) {
  auto output = env.newChildPipe();
  auto errors = env.newChildPipe();
  spec.fds.add(ProcessSpec::Fd{1, output.writeEnd});
  spec.fds.add(ProcessSpec::Fd{2, errors.writeEnd});
  spec.dieWithParent = true;
  auto running = kj::refcounted<Child>();
  auto keep = [&child = *running](kj::Own<Process>&& process) {
    child.exit = process->onExit().fork();
    child.process = kj::mv(process);
  };
  running->started = env.processes().spawn(kj::mv(spec)).then(kj::mv(keep)).fork();
  // From here on `clean` knows of it, whether or not this call is still wanted when it has started.
  child = kj::addRef(*running);
  auto started = running->started.addBranch();
  co_await started;
  output.writeEnd = nullptr;
  errors.writeEnd = nullptr;
  auto lines = readLines(kj::mv(output.stream), kj::mv(onLine)).promise().eagerlyEvaluate(nullptr);
  auto tail = readTail(kj::mv(errors.stream)).promise().eagerlyEvaluate(nullptr);
  auto ended = KJ_ASSERT_NONNULL(running->exit).addBranch();
  int status = co_await ended;
  co_await lines;
  ChildResult result;
  result.errors = co_await tail;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  co_return kj::mv(result);
}

}  // namespace orch::image::oci
