#include "program-session.h"

#include <kj/async-unix.h>
#include <kj/debug.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <deque>

#include "arguments.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr size_t CHUNK_BYTES = 32 << 10;
constexpr size_t MAX_UNDER_WAY = 8;

void writeAll(int fd, kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    ssize_t n = write(fd, bytes.begin(), bytes.size());
    if (n >= 0) {
      bytes = bytes.slice(n, bytes.size());
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      poll(&writable, 1, -1);
    } else if (errno == EPIPE) {
      throwReaderGone();
    } else if (errno != EINTR) {
      fail(kj::str("cannot write the program's output: ", strerror(errno)));
    }
  }
}

class OutputHere final : public schema::ProgramOutput::Server {
 public:
  OutputHere(Env& env, kj::Own<kj::PromiseFulfiller<void>> begun)
      : env(env), begun(kj::mv(begun)) {}
  kj::Promise<void> write(WriteContext context) override {
    begun->fulfill();
    auto params = context.getParams();
    int fd = params.getStream() == schema::LogLine::Stream::STDERR ? STDERR_FILENO : STDOUT_FILENO;
    auto bytes = kj::heapArray<kj::byte>(params.getData());
    auto mine = last.addBranch().then([this, fd, bytes = kj::mv(bytes)]() mutable {
      auto data = std::make_shared<kj::Array<kj::byte>>(kj::mv(bytes));  // of the thread
      return env.workers().run([fd, data] { writeAll(fd, *data); });
    });
    last = mine.fork();
    return last.addBranch();
  }

 private:
  Env& env;
  kj::Own<kj::PromiseFulfiller<void>> begun;
  kj::ForkedPromise<void> last = kj::Promise<void>(kj::READY_NOW).fork();
};

// This process's stdin. It is not made non-blocking: others may have it, too.
class InputHere final {
 public:
  explicit InputHere(Env& env) {
    auto watched = attemptNow([&] {
      observer = kj::heap<kj::UnixEventPort::FdObserver>(
          env.eventPort(), STDIN_FILENO, kj::UnixEventPort::FdObserver::OBSERVE_READ);
    });
    // A file is always ready, and cannot be watched.
    if (!watched.ok()) observer = nullptr;
  }
  // Empty at its end.
  Task<kj::Array<kj::byte>> next() {
    while (!ready()) co_await observer->whenBecomesReadable();
    auto buffer = kj::heapArray<kj::byte>(CHUNK_BYTES);
    ssize_t n;
    do {
      n = read(STDIN_FILENO, buffer.begin(), buffer.size());
    } while (n < 0 && errno == EINTR);
    co_return kj::heapArray<kj::byte>(buffer.slice(0, n > 0 ? n : 0));
  }

 private:
  bool ready() const {
    if (observer.get() == nullptr) return true;
    struct pollfd look = {STDIN_FILENO, POLLIN, 0};
    return poll(&look, 1, 0) > 0;
  }
  kj::Own<kj::UnixEventPort::FdObserver> observer;
};

// Passes what is typed on. Settles when the user goes away by his keys.
Task<void> passInput(Env& env, schema::RunningProgram::Client program, SessionStyle style) {
  InputHere input(env);
  std::deque<kj::Promise<bool>> underWay;
  for (;;) {
    auto typed = co_await input.next();
    if (typed.size() == 0) break;
    auto passed = style.keys.pass(typed);
    if (passed.size() > 0) {
      auto request = program.writeRequest();
      request.setData(passed);
      underWay.push_back(request.send().then([](auto answer) { return answer.getTaken(); }));
    }
    if (style.keys.complete()) co_return;
    while (underWay.size() >= MAX_UNDER_WAY) {
      auto first = kj::mv(underWay.front());
      underWay.pop_front();
      bool taken = co_await first;
      if (!taken) co_await kj::Promise<void>(kj::NEVER_DONE);
    }
  }
  while (!underWay.empty()) {
    auto first = kj::mv(underWay.front());
    underWay.pop_front();
    co_await first;
  }
  auto closing = program.closeInputRequest().send().ignoreResult();
  co_await closing;
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

Task<void> passSize(Env& env, schema::RunningProgram::Client program) {
  for (;;) {
    co_await env.eventPort().onSignal(SIGWINCH);
    auto request = program.resizeRequest();
    describeSize(request.initSize());
    auto sent = request.send().ignoreResult();
    co_await sent;
  }
}

Task<void> passSignal(Env& env, schema::RunningProgram::Client program, int number) {
  for (;;) {
    co_await env.eventPort().onSignal(number);
    auto request = program.signalRequest();
    request.setSignal(kj::str(number));
    auto sent = request.send().ignoreResult();
    co_await sent;
  }
}

// What would end this process: not before the terminal is as it was.
Task<int> endedBy(Env& env, int number) {
  co_await env.eventPort().onSignal(number);
  co_return 128 + number;
}
kj::Promise<int> orEnded(Env& env, kj::Promise<int> status, bool onlyHangup) {
  for (int number : {SIGHUP, SIGINT, SIGTERM, SIGQUIT}) {
    if (onlyHangup && number != SIGHUP) continue;
    auto both = status.exclusiveJoin(endedBy(env, number).promise());
    status = kj::mv(both);
  }
  return kj::mv(status);
}

Task<int> waitFor(Context& context, schema::RunningProgram::Client program) {
  auto waiting = program.waitRequest().send();
  auto end = co_await attempt(kj::mv(waiting));
  if (!end.ok()) {
    if (end.message().size() == 0) kj::throwFatalException(kj::mv(end.error()));
    context.out.error(end.message());
    co_return EXIT_UNKNOWN_END;
  }
  auto error = end.value().getError();
  if (error.size() > 0) context.out.error(error);
  co_return end.value().getExitCode();
}

Task<int> letGo(schema::RunningProgram::Client program) {
  co_await program.letGoRequest().send().ignoreResult();
  co_return 0;
}

// To its end. What is done beside fails only when that has come, and `wait` says so.
Task<int> lookOn(Context& context, schema::RunningProgram::Client program, SessionStyle style) {
  auto& env = context.env;
  bool terminal = style.terminal;
  bool forwards = style.forwardSignals && !terminal;
  kj::Maybe<kj::Own<RawTerminal>> raw;
  if (terminal && style.input) raw = kj::heap<RawTerminal>(STDIN_FILENO);
  auto status = waitFor(context, program).promise();
  if (style.input) {
    auto left = passInput(env, program, kj::mv(style))
                    .promise()
                    .then([program]() mutable { return letGo(program).promise(); },
                          [](kj::Exception&&) { return kj::Promise<int>(kj::NEVER_DONE); });
    auto both = status.exclusiveJoin(kj::mv(left));
    status = kj::mv(both);
  }
  kj::Vector<kj::Promise<void>> beside;
  if (terminal) beside.add(passSize(env, program));
  if (forwards) {
    for (int number : {SIGINT, SIGTERM, SIGQUIT}) beside.add(passSignal(env, program, number));
  }
  auto others = kj::joinPromises(beside.releaseAsArray())
                    .catch_([](kj::Exception&&) {})
                    .eagerlyEvaluate(nullptr);
  co_return co_await orEnded(env, kj::mv(status), forwards);
}

}  // namespace

ProgramOutputHere outputHere(Env& env) {
  auto begun = kj::newPromiseAndFulfiller<void>();
  return {kj::heap<OutputHere>(env, kj::mv(begun.fulfiller)), kj::mv(begun.promise)};
}

Task<int> look(Context& context, kj::Promise<LookedAt> starting, kj::Promise<void> begun) {
  // Before there are threads that would hear them.
  for (int number : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGWINCH}) {
    kj::UnixEventPort::captureSignal(number);
  }
  kj::Maybe<LookedAt> started;
  auto telling = starting.then([&started](LookedAt lookedAt) {
    started = kj::mv(lookedAt);
    return 0;
  });
  auto start = telling.fork();
  // Output may come before the answer that the program was started.
  auto speaking = begun.then([] { return 0; }).catch_([](kj::Exception&&) -> kj::Promise<int> {
    return kj::NEVER_DONE;
  });
  auto first = start.addBranch().exclusiveJoin(kj::mv(speaking));
  int ended = co_await orEnded(context.env, kj::mv(first), false);
  if (ended == 0 && started == nullptr) {
    auto told = start.addBranch();
    ended = co_await orEnded(context.env, kj::mv(told), true);
  }
  KJ_IF_MAYBE (one, started) co_return co_await lookOn(context, one->program, kj::mv(one->style));
  co_return ended;
}

DetachKeys detachKeysOf(const Arguments& args) {
  return DetachKeys::parse(args.given("--detach-keys") ? args.text("--detach-keys")
                                                       : "ctrl-p,ctrl-q"_kj);
}

void describeSize(schema::TerminalSize::Builder size) {
  auto now = dimensionsOf(STDIN_FILENO);
  size.setRows(now.rows);
  size.setColumns(now.columns);
}

}  // namespace orch::cli
