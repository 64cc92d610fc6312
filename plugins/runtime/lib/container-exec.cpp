// Programs that somebody runs in a container that runs, and looks on.
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "exec-process.h"
#include "exec-program.h"
#include "oci-runtime.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "runner/protocol.h"

namespace orch::runtime {

namespace {

// As shells say it, and docker.
constexpr int CANNOT_RUN = 126;
constexpr int NOT_FOUND = 127;
// A runner that has not said anything so long after it has come gets no processor, or was stopped.
constexpr kj::Duration START_PATIENCE = 10 * kj::SECONDS;
// Linux: the other ends of pseudo terminals.
constexpr unsigned TERMINAL_MAJOR = 5;
constexpr unsigned TERMINAL_MINOR = 2;

// The two ends of a stream of the program.
struct Pipe {
  kj::AutoCloseFd ours;
  kj::AutoCloseFd theirs;
};

Pipe newPipe(bool toProgram) {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd reads(ends[0]), writes(ends[1]);
  if (toProgram) return {kj::mv(writes), kj::mv(reads)};
  return {kj::mv(reads), kj::mv(writes)};
}

kj::AutoCloseFd nothing() {
  int fd;
  KJ_SYSCALL(fd = open("/dev/null", O_RDWR | O_CLOEXEC));
  return kj::AutoCloseFd(fd);
}

kj::Array<kj::byte> requestFor(schema::Program::Reader program) {
  ProgramRequest request = {};
  auto command = program.getCommand();
  for (auto word : command) request.commandBytes += word.size() + 1;
  if (command.size() == 0 || request.commandBytes > RUNNER_MAX_COMMAND) {
    fail(kj::str("a command has 1 byte to ", int(RUNNER_MAX_COMMAND), ", with its words' ends"));
  }
  request.terminal = program.getTerminal();
  request.rows = program.getSize().getRows();
  request.columns = program.getSize().getColumns();
  auto message = kj::heapArray<kj::byte>(sizeof(request) + request.commandBytes);
  memcpy(message.begin(), &request, sizeof(request));
  auto end = message.begin() + sizeof(request);
  for (auto word : command) {
    memcpy(end, word.cStr(), word.size() + 1);
    end += word.size() + 1;
  }
  return message;
}

UserFiles userFilesOf(const std::string& rootfs) {
  RootFolder root(rootfs);
  return {root.read("/etc/passwd"), root.read("/etc/group")};
}

// The runner is in the hands of whoever is root in the container: another descriptor than a
// terminal might stop the loop.
kj::AutoCloseFd checkedTerminal(kj::AutoCloseFd fd) {
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info));
  bool isTerminal = S_ISCHR(info.st_mode) && major(info.st_rdev) == TERMINAL_MAJOR &&
                    minor(info.st_rdev) == TERMINAL_MINOR;
  if (!isTerminal) fail(kj::str("what runs the program in the container gave no terminal"));
  return fd;
}

struct Started {
  ProgramStarted answer = {};
  kj::AutoCloseFd terminal;
};
Task<Started> ask(kj::AsyncCapabilityStream& runner, kj::Array<kj::byte> request) {
  co_await runner.write(request.begin(), request.size());
  Started started;
  auto got = co_await runner.tryReadWithFds(&started.answer, sizeof(started.answer),
                                            sizeof(started.answer), &started.terminal, 1);
  if (got.byteCount != sizeof(started.answer)) {
    fail(kj::str("what runs the program in the container was ended"));
  }
  co_return kj::mv(started);
}

}  // namespace

Task<schema::RunningProgram::Client> OciRuntime::exec(kj::String id, schema::Program::Reader given,
                                                      schema::ProgramOutput::Client output) {
  auto container = runningOne(id);
  auto program = std::make_shared<capnp::MallocMessageBuilder>();
  program->setRoot(given);
  auto running = co_await attempt(execIn(kj::addRef(*container), kj::mv(program), kj::mv(output)));
  if (running.ok()) co_return kj::mv(running.value());
  if (isEnding(container->state.init)) fail(kj::str("container '", id, "' has ended"));
  kj::throwFatalException(kj::mv(running.error()));
}

Task<schema::RunningProgram::Client> OciRuntime::execIn(kj::Own<Container> container,
                                                        ProgramWish wish,
                                                        schema::ProgramOutput::Client output) {
  auto program = wish->getRoot<schema::Program>().asReader();
  auto request = requestFor(program);
  bool terminal = program.getTerminal();
  Pipe in, out, err;
  kj::Vector<ProcessSpec::Fd> fds;
  if (!terminal) {
    in = program.getInput() ? newPipe(true) : Pipe{kj::AutoCloseFd(), nothing()};
    out = newPipe(false);
    err = newPipe(false);
    int number = RUNNER_STDIO_FD;
    for (auto pipe : {&in, &out, &err}) fds.add(ProcessSpec::Fd{number++, pipe->theirs});
  }
  auto rootfs = maker->layout.rootfs(container->id);
  WriteProcess writeProcess = [wish, rootfs](const std::string& config) {
    return oneProgramProcess(config, wish->getRoot<schema::Program>().asReader(),
                             userFilesOf(rootfs));
  };
  auto entered = co_await attempt(enter(*container, kj::mv(writeProcess), kj::mv(fds)));
  if (!entered.ok()) {
    if (isEnding(container->state.init)) kj::throwFatalException(kj::mv(entered.error()));
    co_return programNotStarted(CANNOT_RUN, kj::str(entered.message()));
  }
  in.theirs = nullptr, out.theirs = nullptr, err.theirs = nullptr;
  auto runner = kj::mv(entered.value().socket);
  auto asking = ask(*runner, kj::mv(request)).promise();
  auto started = co_await env.timer().timeoutAfter(START_PATIENCE, kj::mv(asking));
  if (int number = static_cast<int>(started.answer.error); number != 0) {
    auto what = started.answer.noTerminal ? kj::str("cannot open a terminal in the container")
                                          : kj::str("cannot run '", program.getCommand()[0], "'");
    co_return programNotStarted(
        number == ENOENT && !started.answer.noTerminal ? NOT_FOUND : CANNOT_RUN,
        kj::str(what, ": ", strerror(number)));
  }
  using Way = FdStream::Way;
  auto stream = [this](kj::AutoCloseFd fd, Way way) {
    return kj::heap<FdStream>(env, kj::mv(fd), way);
  };
  ExecProgram::Ends ends;
  if (terminal) {
    ends.output = stream(checkedTerminal(kj::mv(started.terminal)), Way::BOTH);
  } else {
    if (in.ours.get() >= 0) ends.input = stream(kj::mv(in.ours), Way::WRITE);
    ends.output = stream(kj::mv(out.ours), Way::READ);
    ends.errors = stream(kj::mv(err.ours), Way::READ);
  }
  ends.runner = kj::mv(runner);
  co_return kj::heap<ExecProgram>(kj::mv(container), kj::mv(ends), kj::mv(output));
}

}  // namespace orch::runtime
