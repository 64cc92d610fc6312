#include "exec-program.h"

#include <kj/debug.h>
#include <sys/ioctl.h>

#include <csignal>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "process-table.h"
#include "runner/protocol.h"
#include "signals.h"

namespace orch::runtime {

namespace {

constexpr capnp::MessageSize SMALL{8, 0};

class NotStarted final : public schema::RunningProgram::Server {
 public:
  NotStarted(int exitCode, kj::String error) : exitCode(exitCode), error(kj::mv(error)) {}
  kj::Promise<void> wait(WaitContext context) override {
    context.getResults().setExitCode(exitCode);
    context.getResults().setError(error);
    return kj::READY_NOW;
  }
  kj::Promise<void> write(WriteContext) override { return kj::READY_NOW; }
  kj::Promise<void> closeInput(CloseInputContext) override { return kj::READY_NOW; }
  kj::Promise<void> resize(ResizeContext) override { return kj::READY_NOW; }
  kj::Promise<void> signal(SignalContext) override { return kj::READY_NOW; }
  kj::Promise<void> letGo(LetGoContext) override { fail(kj::str(error)); }

 private:
  const int exitCode;
  const kj::String error;
};

}  // namespace

// ---- output -------------------------------------------------------------------------------------

Task<void> OutputPump::run(FdStream& from, kj::Promise<void> ended) {
  bool over = false;
  auto whenOver = ended.then([&over] { over = true; }).fork();
  auto buffer = kj::heapArray<kj::byte>(CHUNK_BYTES);
  for (;;) {
    bool last = over;  // asked before reading: then all is there
    KJ_IF_MAYBE (n, from.read(buffer)) {
      if (*n == 0) break;
      co_await send(buffer.slice(0, *n));
      continue;
    }
    if (last) break;
    auto more = from.whenReadable().exclusiveJoin(whenOver.addBranch());
    co_await more;
  }
  co_await flush();
}

Task<void> OutputPump::send(kj::ArrayPtr<const kj::byte> bytes) {
  capnp::MessageSize size{SMALL.wordCount + bytes.size() / sizeof(capnp::word), 0};
  auto request = to.writeRequest(size);
  request.setStream(stream);
  request.setData(bytes);
  underWay.push_back(request.send().ignoreResult());
  while (underWay.size() >= MAX_UNDER_WAY) {
    auto first = kj::mv(underWay.front());
    underWay.pop_front();
    co_await first;
  }
}

Task<void> OutputPump::flush() {
  while (!underWay.empty()) {
    auto first = kj::mv(underWay.front());
    underWay.pop_front();
    co_await first;
  }
}

// ---- turns --------------------------------------------------------------------------------------

kj::Promise<kj::Own<kj::PromiseFulfiller<void>>> TurnQueue::next() {
  if (waiting >= MAX_WAITING) {
    fail(kj::str("more than ", MAX_WAITING, " inputs at once; wait for their answers"));
  }
  ++waiting;
  auto over = kj::newPromiseAndFulfiller<void>();
  auto mine = kj::mv(last);
  // A fulfiller that is dropped rejects: that is the end of a turn, too.
  last = over.promise.catch_([](kj::Exception&&) {});
  return mine.then([fulfiller = kj::mv(over.fulfiller)]() mutable { return kj::mv(fulfiller); })
      .attach(kj::defer([this] { --waiting; }));
}

// ---- program ------------------------------------------------------------------------------------

ExecProgram::ExecProgram(kj::Own<Container> container, Ends itsEnds,
                         schema::ProgramOutput::Client to)
    : container(kj::mv(container)),
      ends(kj::mv(itsEnds)),
      output(to, schema::LogLine::Stream::STDOUT),
      errors(to, schema::LogLine::Stream::STDERR),
      ended(nullptr),
      finished(nullptr) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  endSeen = kj::mv(pair.fulfiller);
  ended = pair.promise.fork();
  finished = finish().promise().fork();
}

Task<void> ExecProgram::finish() {
  auto streams = kj::Vector<kj::Promise<void>>();
  streams.add(output.run(*ends.output, ended.addBranch()));
  if (!hasTerminal()) streams.add(errors.run(*ends.errors, ended.addBranch()));
  streams.add(noteEnd());
  auto all = kj::joinPromises(streams.releaseAsArray());
  co_await all;
}

Task<void> ExecProgram::noteEnd() {
  ProgramEnded last = {};
  auto reading = ends.runner->tryRead(&last, sizeof(last), sizeof(last));
  auto got = co_await attempt(kj::mv(reading));
  if (got.ok() && got.value() == sizeof(last)) {
    exitCode = last.exitCode;
  } else {
    bool alone = container->lives() && !isEnding(container->state.init);
    exitCode = 128 + SIGKILL;
    error = alone ? kj::str("what runs the program in the container was ended")
                  : kj::str("its container has ended");
  }
  endSeen->fulfill();
}

kj::Promise<void> ExecProgram::wait(WaitContext context) {
  context.allowCancellation();
  return finished.addBranch().then([this, context]() mutable {
    auto results = context.getResults();
    results.setExitCode(exitCode);
    if (error.size() > 0) results.setError(error);
  });
}

Task<void> ExecProgram::doWrite(WriteContext context) {
  context.allowCancellation();
  auto turn = co_await inputs.next();
  auto& to = hasTerminal() ? ends.output : ends.input;
  if (to.get() == nullptr) co_return;
  // A program that has ended reads nothing any more, whoever else holds its end of the pipe.
  auto taken = to->write(context.getParams().getData()).promise();
  auto over = ended.addBranch().then([] { return false; });
  auto first = taken.exclusiveJoin(kj::mv(over));
  bool wasTaken = co_await first;
  context.getResults(SMALL).setTaken(wasTaken);
}

Task<void> ExecProgram::doCloseInput() {
  auto turn = co_await inputs.next();
  ends.input = nullptr;
}

kj::Promise<void> ExecProgram::resize(ResizeContext context) {
  auto wanted = context.getParams().getSize();
  winsize size = {};
  size.ws_row = wanted.getRows();
  size.ws_col = wanted.getColumns();
  // A terminal whose program has ended is nobody's concern.
  if (hasTerminal()) ioctl(ends.output->fd(), TIOCSWINSZ, &size);
  return kj::READY_NOW;
}

kj::Promise<void> ExecProgram::signal(SignalContext context) {
  return order(PROGRAM_SIGNAL, signalNumber(context.getParams().getSignal()));
}

kj::Promise<void> ExecProgram::letGo(LetGoContext) { return order(PROGRAM_LET_GO, 0); }

Task<void> ExecProgram::order(uint32_t what, int number) {
  ProgramOrder one = {};
  one.order = what;
  one.signal = number;
  auto turn = co_await orders.next();
  // It has ended meanwhile: there is nothing to be done.
  auto writing = ends.runner->write(&one, sizeof(one));
  co_await attempt(kj::mv(writing));
}

schema::RunningProgram::Client programNotStarted(int exitCode, kj::String error) {
  return kj::heap<NotStarted>(exitCode, kj::mv(error));
}

}  // namespace orch::runtime
