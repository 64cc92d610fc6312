#include "attached-program.h"

#include <capnp/message.h>

#include "conmon.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "signals.h"

namespace orch::runtime {

namespace {
using Stream = schema::LogLine::Stream;
constexpr size_t CHUNK_COSTS = 64;  // bytes, beside what is in one
// Of what is written without end, so much at once. Then others have their turn, and if it is for
// nobody a while: the container gets to 128 MB/s.
constexpr unsigned PACKETS_AT_ONCE = 16;
constexpr kj::Duration WHILE_FULL = 1 * kj::MILLISECONDS;
}  // namespace

// ---- output -------------------------------------------------------------------------------------

AttachedOutput::AttachedOutput(schema::ProgramOutput::Client to)
    : output(to, Stream::STDOUT), errors(to, Stream::STDERR) {}

void AttachedOutput::add(Stream stream, kj::ArrayPtr<const kj::byte> bytes) {
  if (leftOut > 0 || waitingBytes + bytes.size() + CHUNK_COSTS > MAX_BYTES) {
    leftOut += bytes.size();
  } else {
    waitingBytes += bytes.size() + CHUNK_COSTS;
    waiting.push_back({stream, kj::heapArray(bytes)});
  }
  wake();
}

void AttachedOutput::close() {
  closed = true;
  wake();
}

void AttachedOutput::wake() {
  KJ_IF_MAYBE (fulfiller, sleeper) (*fulfiller)->fulfill();
  sleeper = nullptr;
}

kj::Promise<void> AttachedOutput::more() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  sleeper = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

Task<void> AttachedOutput::run() {
  for (;;) {
    if (!waiting.empty()) {
      auto chunk = kj::mv(waiting.front());
      waiting.pop_front();
      auto& pump = chunk.stream == Stream::STDERR ? errors : output;
      co_await pump.send(chunk.bytes);
      waitingBytes -= chunk.bytes.size() + CHUNK_COSTS;
    } else if (leftOut > 0) {
      auto said = kj::str("\norch: ", leftOut,
                          " bytes came faster than they were read, and are left out\n");
      leftOut = 0;
      co_await errors.send(said.asBytes());
    } else if (closed) {
      break;
    } else {
      co_await more();
    }
  }
  co_await output.flush();
  co_await errors.flush();
}

// ---- program ------------------------------------------------------------------------------------

AttachedProgram::AttachedProgram(kj::Timer& timer, kj::Own<Container> itsContainer,
                                 kj::Own<FdStream> conmon, std::string bundle, bool input,
                                 schema::ProgramOutput::Client to)
    : timer(timer),
      container(kj::mv(itsContainer)),
      conmon(kj::mv(conmon)),
      bundle(std::move(bundle)),
      input(input && container->takesInput()),
      output(kj::mv(to)),
      finished(finish().promise().fork()) {}

Task<void> AttachedProgram::finish() {
  kj::Vector<kj::Promise<void>> all;
  all.add(read(container->whenExited()));
  all.add(output.run());
  auto passedOn = kj::joinPromises(all.releaseAsArray());
  co_await passedOn;
  // Without its conmon nothing more is heard of it, but it runs.
  co_await container->whenExited();
}

Task<void> AttachedProgram::read(kj::Promise<void> ended) {
  KJ_DEFER(output.close());
  bool over = false;
  auto whenOver = ended.then([&over] { over = true; }).fork();
  auto buffer = kj::heapArray<kj::byte>(MAX_PACKET_BYTES + 1);
  unsigned packets = 0;
  while (!gone) {
    bool last = over;  // asked before reading: what conmon has written by then is there
    KJ_IF_MAYBE (n, conmon->read(buffer)) {
      if (*n == 0) break;
      auto stream = buffer[0] == STREAM_STDERR ? Stream::STDERR : Stream::STDOUT;
      output.add(stream, buffer.slice(1, *n));
      if (++packets % PACKETS_AT_ONCE != 0) continue;
      auto pause = timer.afterDelay(output.isFull() ? WHILE_FULL : 0 * kj::NANOSECONDS);
      co_await pause;
      continue;
    }
    if (last) break;
    auto more = conmon->whenReadable().exclusiveJoin(whenOver.addBranch());
    co_await more;
  }
}

kj::Promise<void> AttachedProgram::wait(WaitContext context) {
  context.allowCancellation();
  return finished.addBranch().then([this, context]() mutable {
    capnp::MallocMessageBuilder message;
    auto exit = message.initRoot<schema::ExitStatus>();
    container->describeExit(exit);
    if (exit.getLost().size() > 0) fail(kj::str(exit.getLost()));
    context.getResults().setExitCode(exit.getCode());
  });
}

Task<void> AttachedProgram::doWrite(WriteContext context) {
  context.allowCancellation();
  auto turn = co_await inputs.next();
  if (!input || gone) co_return;
  kj::ArrayPtr<const kj::byte> rest = context.getParams().getData();
  bool taken = true;
  while (taken && rest.size() > 0) {
    auto packet = rest.slice(0, kj::min(rest.size(), MAX_PACKET_BYTES));
    rest = rest.slice(packet.size(), rest.size());
    auto writing = conmon->write(packet).promise();
    auto over = container->whenExited().then([] { return false; });
    auto first = writing.exclusiveJoin(kj::mv(over));
    taken = co_await first;
  }
  context.getResults().setTaken(taken);
}

kj::Promise<void> AttachedProgram::resize(ResizeContext context) {
  auto size = context.getParams().getSize();
  // If it has ended meanwhile, nobody minds.
  if (container->hasTerminal) resizeTerminal(bundle, size.getRows(), size.getColumns());
  return kj::READY_NOW;
}

kj::Promise<void> AttachedProgram::signal(SignalContext context) {
  int number = signalNumber(context.getParams().getSignal());
  container->signal(number);
  return kj::READY_NOW;
}

kj::Promise<void> AttachedProgram::letGo(LetGoContext) {
  gone = true;
  return kj::READY_NOW;
}

}  // namespace orch::runtime
