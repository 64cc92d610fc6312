// Everything that a part of orch may know of the world outside: time, chance, files, the network,
// processes and threads. A plugin gets one Env& and reads nothing around it, so that a whole
// cluster can run in virtual time from one seed (sdk/testing). The references live as long as the
// process.
#pragma once

#include <kj/async-io.h>
#include <kj/filesystem.h>
#include <kj/function.h>
#include <kj/io.h>
#include <kj/time.h>
#include <kj/timer.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "orch/task.h"

namespace orch {

// Threads for what blocks: files, dlopen, libraries that wait. At most 8 run at once, the rest
// queue. They are started when they are needed and end when there is nothing to do for a while.
class Workers {
 public:
  virtual ~Workers() noexcept(false) {}

  // Runs `work` on another thread; the answer is back on the caller's loop. `work` gets plain
  // values and touches no KJ promise, capability or timer. Dropping the promise lets `work` finish
  // and drops its result. An exception of `work` fails the promise.
  template <typename F>
  auto run(F&& work) -> kj::Promise<decltype(work())>;

  // The untyped form: `work` on another thread, then the promise settles on this loop.
  virtual kj::Promise<void> runErased(kj::Function<void()> work) = 0;
};

// A process that this one started. Dropping it neither ends nor forgets the process: it is reaped.
class Process {
 public:
  virtual ~Process() noexcept(false) {}
  virtual uint32_t pid() const = 0;
  // The wait status as in waitpid(2). May be asked for once.
  virtual kj::Promise<int> onExit() = 0;
  // True if it was sent; false if the process is gone.
  virtual bool signal(int number) = 0;
};

struct ProcessSpec {
  kj::Vector<kj::String> argv;  // argv[0] is a path, or a name that is looked up in PATH
  kj::Vector<kj::String> env;   // KEY=value; nothing is inherited
  struct Fd {
    int number;  // in the child
    int source;  // in this process; stays open here
  };
  kj::Vector<Fd> fds;  // 0, 1 and 2 are /dev/null unless named
  kj::Maybe<kj::String> cwd;
  bool dieWithParent = false;  // SIGKILL when the thread that started it ends
  bool newSession = false;
};

class Processes {
 public:
  virtual ~Processes() noexcept(false) {}
  // Fails if the program cannot be executed, with its name and the system's reason.
  virtual kj::Promise<kj::Own<Process>> spawn(ProcessSpec spec) = 0;
  // Settles when the process behind a pidfd has ended, whoever started it. The descriptor stays the
  // caller's and must outlive the promise.
  virtual kj::Promise<void> whenGone(int pidfd) = 0;
};

// A pipe that a child writes into. `writeEnd` goes into ProcessSpec::fds and is closed once the
// child has started: else the stream never ends.
struct ChildPipe {
  kj::Own<kj::AsyncInputStream> stream;
  kj::AutoCloseFd writeEnd;
};

// The machine that a node is, as the scheduler counts it.
struct Hardware {
  uint64_t cpuNanos = 0;  // billionths of a core
  uint64_t memoryBytes = 0;
  kj::String architecture;  // as `uname -m`
};

// What a finished command left behind.
struct CommandResult {
  int status = 0;     // exit status, or 128 + signal
  kj::String output;  // stdout, at most 1 MiB
  kj::String errors;  // stderr, at most 64 KiB
};

// An id of 25 characters [a-z0-9]: 129 bits of `random`.
kj::String idOf(kj::FunctionParam<uint64_t()> random);

class Env {
 public:
  virtual ~Env() noexcept(false) {}

  virtual const kj::Clock& clock() = 0;  // wall clock
  virtual kj::Timer& timer() = 0;        // monotonic
  virtual kj::Filesystem& files() = 0;   // real paths are absolute: files().getRoot()
  virtual kj::Network& network() = 0;
  virtual kj::LowLevelAsyncIoProvider& lowLevelIo() = 0;  // fails on a virtual Env
  virtual kj::UnixEventPort&
  eventPort() = 0;                 // to observe file descriptors; fails on a virtual Env
  virtual Workers& workers() = 0;  // of whoever this Env was given to: orchd, or one plugin
  virtual Processes& processes() = 0;
  virtual uint64_t random() = 0;  // uniform; from the seed on a virtual Env

  virtual Hardware hardware();  // the system's, unless the world is made up

  // The same world with worker threads of its own, so that what blocks in them holds up nobody
  // else: each plugin is given one. It lives as long as this Env, which is its own answer where no
  // work waits for other work.
  virtual Env& withOwnWorkers() { return *this; }
  // A place where a crash test may end the process, as a power cut would. From any thread. Does
  // nothing unless the environment has ORCH_KILL_AT="OWNER PLACE,FILE"; then, once FILE is there
  // with a number N in it, the Nth time that the owner comes to the place. Nothing in virtual time.
  virtual void failPoint(kj::StringPtr /*owner*/, kj::StringPtr /*place*/) {}

  // Nanoseconds since the epoch.
  int64_t nowNs() { return (clock().now() - kj::UNIX_EPOCH) / kj::NANOSECONDS; }
  kj::String newId() {
    return idOf([this] { return random(); });
  }
  ChildPipe newChildPipe();
  // Runs a command to its end. stdin is /dev/null. Cancelling sends SIGKILL.
  Task<CommandResult> command(ProcessSpec spec);
};

// The disk, for programs without an Env.
kj::Own<kj::Filesystem> newSystemFiles();

// The real one, on the calling thread's event loop. One per process; lives as long as the loop.
kj::Own<Env> newSystemEnv(kj::AsyncIoContext& io);

template <typename F>
auto Workers::run(F&& work) -> kj::Promise<decltype(work())> {
  using T = decltype(work());
  if constexpr (std::is_void_v<T>) {
    return runErased(kj::fwd<F>(work));
  } else {
    // Owned by both threads: whichever is done last frees it.
    auto slot = std::make_shared<std::optional<T>>();
    return runErased([slot, work = kj::fwd<F>(work)]() mutable { slot->emplace(work()); })
        .then([slot]() { return kj::mv(**slot); });
  }
}

}  // namespace orch
