// orchd's end of a program that somebody runs in a container and looks on (`exec`).
#pragma once

#include <kj/async-io.h>

#include <deque>

#include "container.h"
#include "fd-stream.h"

namespace orch::runtime {

// What a program writes, on its way to who looks on: chunk by chunk, a bounded number of them under
// way.
class OutputPump final {
 public:
  static constexpr size_t CHUNK_BYTES = 32 << 10;
  static constexpr size_t MAX_UNDER_WAY = 8;

  OutputPump(schema::ProgramOutput::Client to, schema::LogLine::Stream stream)
      : to(kj::mv(to)), stream(stream) {}
  KJ_DISALLOW_COPY(OutputPump);

  // Settles at the stream's end, when all has been taken. Once `ended` has settled, what is there
  // at that moment is the end: others that hold the program's end may keep it open for ever.
  Task<void> run(FdStream& from, kj::Promise<void> ended);
  // One chunk; settles when there is room for the next.
  Task<void> send(kj::ArrayPtr<const kj::byte> bytes);
  // Settles when all has been taken.
  Task<void> flush();

 private:
  schema::ProgramOutput::Client to;
  const schema::LogLine::Stream stream;
  std::deque<kj::Promise<void>> underWay;
};

// Calls that are done one after the other. The queue outlives the turns.
class TurnQueue final {
 public:
  static constexpr unsigned MAX_WAITING = 16;
  // Settles when it is this one's turn, which ends when the answer is dropped. Fails if there are
  // too many.
  kj::Promise<kj::Own<kj::PromiseFulfiller<void>>> next();

 private:
  unsigned waiting = 0;
  kj::Promise<void> last = kj::READY_NOW;
};

// Dropping it has the runner end the program with all that it has started, unless it was let go.
class ExecProgram final : public schema::RunningProgram::Server {
 public:
  struct Ends {
    kj::Own<kj::AsyncCapabilityStream> runner;
    kj::Own<FdStream> input;   // null: it has none, or `output` is a terminal
    kj::Own<FdStream> output;  // or the terminal
    kj::Own<FdStream> errors;  // null: a terminal has none
  };
  ExecProgram(kj::Own<Container> container, Ends ends, schema::ProgramOutput::Client to);

  kj::Promise<void> wait(WaitContext context) override;
  kj::Promise<void> write(WriteContext context) override { return doWrite(context); }
  kj::Promise<void> closeInput(CloseInputContext) override { return doCloseInput(); }
  kj::Promise<void> resize(ResizeContext context) override;
  kj::Promise<void> signal(SignalContext context) override;
  kj::Promise<void> letGo(LetGoContext context) override;

 private:
  Task<void> finish();
  Task<void> noteEnd();
  Task<void> doWrite(WriteContext context);
  Task<void> doCloseInput();
  Task<void> order(uint32_t what, int number);
  bool hasTerminal() const { return ends.errors.get() == nullptr; }

  kj::Own<Container> container;
  Ends ends;
  OutputPump output;
  OutputPump errors;
  TurnQueue inputs;
  TurnQueue orders;
  int exitCode = 0;
  kj::String error;
  kj::Own<kj::PromiseFulfiller<void>> endSeen;
  kj::ForkedPromise<void> ended;     // the program has
  kj::ForkedPromise<void> finished;  // and its output has been taken; last: it uses the above
};

// One that could not be started, and why.
schema::RunningProgram::Client programNotStarted(int exitCode, kj::String error);

}  // namespace orch::runtime
