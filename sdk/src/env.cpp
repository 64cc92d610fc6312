#include "orch/env.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <list>

#include "fail-point.h"
#include "memory-trimmer.h"
#include "processes.h"
#include "workers.h"

namespace orch {

namespace {

constexpr size_t MAX_OUTPUT_BYTES = 1 << 20;
constexpr size_t MAX_ERROR_BYTES = 64 << 10;

kj::AutoCloseFd openFolder(const char* path) {
  int fd;
  KJ_SYSCALL(fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

kj::Path workingFolder() {
  char path[PATH_MAX];
  KJ_SYSCALL(getcwd(path, sizeof(path)) == nullptr ? -1 : 0);
  return kj::Path::parse(path + 1);
}

// kj::newDiskFilesystem complains on stderr of a PWD that is not where the process is.
class SystemFiles final : public kj::Filesystem {
 public:
  const kj::Directory& getRoot() const override { return *root; }
  const kj::Directory& getCurrent() const override { return *current; }
  kj::PathPtr getCurrentPath() const override { return path; }

 private:
  kj::Own<const kj::Directory> root = kj::newDiskDirectory(openFolder("/"));
  kj::Own<const kj::Directory> current = kj::newDiskDirectory(openFolder("."));
  kj::Path path = workingFolder();
};

// All of another Env but its workers.
class SystemEnvWithOwnWorkers final : public Env {
 public:
  SystemEnvWithOwnWorkers(Env& world, Mailbox& mailbox) : world(world), threads(mailbox) {}

  const kj::Clock& clock() override { return world.clock(); }
  kj::Timer& timer() override { return world.timer(); }
  kj::Filesystem& files() override { return world.files(); }
  kj::Network& network() override { return world.network(); }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override { return world.lowLevelIo(); }
  kj::UnixEventPort& eventPort() override { return world.eventPort(); }
  Workers& workers() override { return threads; }
  Processes& processes() override { return world.processes(); }
  uint64_t random() override { return world.random(); }
  void failPoint(kj::StringPtr owner, kj::StringPtr place) override {
    world.failPoint(owner, place);
  }

 private:
  Env& world;
  ThreadWorkers threads;
};

class SystemEnv final : public Env {
 public:
  explicit SystemEnv(kj::AsyncIoContext& io)
      : io(io),
        filesystem(newSystemFiles()),
        mailbox(io.unixEventPort),
        threads(mailbox),
        children(io.unixEventPort),
        trimmer(io.provider->getTimer()) {}

  const kj::Clock& clock() override { return kj::systemPreciseCalendarClock(); }
  kj::Timer& timer() override { return io.provider->getTimer(); }
  kj::Filesystem& files() override { return *filesystem; }
  kj::Network& network() override { return io.provider->getNetwork(); }
  kj::LowLevelAsyncIoProvider& lowLevelIo() override { return *io.lowLevelProvider; }
  kj::UnixEventPort& eventPort() override { return io.unixEventPort; }
  Workers& workers() override { return threads; }
  Processes& processes() override { return children; }
  Env& withOwnWorkers() override { return plugins.emplace_back(*this, mailbox); }
  uint64_t random() override {
    uint64_t value;
    ssize_t n;
    KJ_SYSCALL(n = getrandom(&value, sizeof(value), 0));
    KJ_ASSERT(n == sizeof(value));
    return value;
  }
  void failPoint(kj::StringPtr owner, kj::StringPtr place) override {
    killAt.reached(owner, place);
  }

 private:
  kj::AsyncIoContext& io;
  kj::Own<kj::Filesystem> filesystem;
  Mailbox mailbox;
  ThreadWorkers threads;
  SystemProcesses children;
  MemoryTrimmer trimmer;
  FailPoint killAt;
  std::list<SystemEnvWithOwnWorkers> plugins;  // as many as plugins were given one
};

// Reads to the end, keeps the first `limit` bytes.
Task<kj::String> drain(kj::Own<kj::AsyncInputStream> stream, size_t limit) {
  kj::Vector<char> text;
  auto buffer = kj::heapArray<char>(16384);
  for (;;) {
    size_t n = co_await stream->tryRead(buffer.begin(), 1, buffer.size());
    if (n == 0) break;
    size_t keep = kj::min(n, limit - text.size());
    text.addAll(buffer.begin(), buffer.begin() + keep);
  }
  text.add('\0');
  co_return kj::String(text.releaseAsArray());
}

}  // namespace

kj::Exception currentException() {
  try {
    throw;
  } catch (kj::Exception& exception) {
    return kj::mv(exception);
  } catch (std::exception& exception) {
    return kj::Exception(kj::Exception::Type::FAILED, "", 0, kj::str(exception.what()));
  } catch (...) {
    return kj::Exception(kj::Exception::Type::FAILED, "", 0,
                         kj::str("an exception of unknown type"));
  }
}

kj::String idOf(kj::FunctionParam<uint64_t()> random) {
  static constexpr char ALPHABET[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  auto id = kj::heapString(25);
  for (size_t i = 0; i < id.size();) {
    uint64_t bits = random();
    // Eight letters of 36 use 41 of 64 bits: the bias is below 2^-22.
    for (int letter = 0; letter < 8 && i < id.size(); ++letter, ++i) {
      id[i] = ALPHABET[bits % 36];
      bits /= 36;
    }
  }
  return id;
}

Hardware Env::hardware() {
  constexpr uint64_t NANOS_PER_CORE = 1'000'000'000;
  struct utsname system = {};
  uname(&system);
  struct sysinfo memory = {};
  sysinfo(&memory);
  return {sysconf(_SC_NPROCESSORS_ONLN) * NANOS_PER_CORE,
          static_cast<uint64_t>(memory.totalram) * memory.mem_unit, kj::str(system.machine)};
}

ChildPipe Env::newChildPipe() {
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
  ChildPipe pipe;
  pipe.writeEnd = kj::AutoCloseFd(fds[1]);
  pipe.stream = lowLevelIo().wrapInputFd(fds[0], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  return pipe;
}

Task<CommandResult> Env::command(ProcessSpec spec) {
  auto output = newChildPipe();
  auto errors = newChildPipe();
  spec.fds.add(ProcessSpec::Fd{1, output.writeEnd});
  spec.fds.add(ProcessSpec::Fd{2, errors.writeEnd});
  auto process = co_await processes().spawn(kj::mv(spec));
  KJ_DEFER(process->signal(SIGKILL));  // if cancelled; a process that has ended is left alone
  output.writeEnd = nullptr;
  errors.writeEnd = nullptr;
  auto readOutput =
      drain(kj::mv(output.stream), MAX_OUTPUT_BYTES).promise().eagerlyEvaluate(nullptr);
  auto readErrors =
      drain(kj::mv(errors.stream), MAX_ERROR_BYTES).promise().eagerlyEvaluate(nullptr);
  int status = co_await process->onExit();
  CommandResult result;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.output = co_await readOutput;
  result.errors = co_await readErrors;
  co_return kj::mv(result);
}

kj::Own<kj::Filesystem> newSystemFiles() { return kj::heap<SystemFiles>(); }

kj::Own<Env> newSystemEnv(kj::AsyncIoContext& io) { return kj::heap<SystemEnv>(io); }

}  // namespace orch
