// orchd's end of a container's own process that somebody looks on (`attach`).
#pragma once

#include <deque>

#include "exec-program.h"

namespace orch::runtime {

// What waits to be passed on. It is never what stops the container: what is too much is left out.
class AttachedOutput final {
 public:
  static constexpr size_t MAX_BYTES = 1 << 20;

  explicit AttachedOutput(schema::ProgramOutput::Client to);
  KJ_DISALLOW_COPY(AttachedOutput);

  void add(schema::LogLine::Stream stream, kj::ArrayPtr<const kj::byte> bytes);
  // What comes now is left out.
  bool isFull() const { return leftOut > 0; }
  // No more comes.
  void close();
  // Passes on until it is closed and all has been taken.
  Task<void> run();

 private:
  struct Chunk {
    schema::LogLine::Stream stream;
    kj::Array<kj::byte> bytes;
  };
  void wake();
  kj::Promise<void> more();
  OutputPump output;
  OutputPump errors;
  std::deque<Chunk> waiting;
  size_t waitingBytes = 0;
  uint64_t leftOut = 0;  // bytes, that nobody has been told of
  bool closed = false;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sleeper;
};

// Dropping it lets the container be.
class AttachedProgram final : public schema::RunningProgram::Server {
 public:
  // `conmon`: see connectToConmon. `bundle`: of the container.
  AttachedProgram(kj::Timer& timer, kj::Own<Container> container, kj::Own<FdStream> conmon,
                  std::string bundle, bool input, schema::ProgramOutput::Client to);

  kj::Promise<void> wait(WaitContext context) override;
  kj::Promise<void> write(WriteContext context) override { return doWrite(context); }
  // The next who attaches may write, too.
  kj::Promise<void> closeInput(CloseInputContext) override { return kj::READY_NOW; }
  kj::Promise<void> resize(ResizeContext context) override;
  kj::Promise<void> signal(SignalContext context) override;
  kj::Promise<void> letGo(LetGoContext context) override;

 private:
  Task<void> finish();
  Task<void> read(kj::Promise<void> ended);
  Task<void> doWrite(WriteContext context);

  kj::Timer& timer;
  kj::Own<Container> container;
  kj::Own<FdStream> conmon;
  const std::string bundle;
  const bool input;
  AttachedOutput output;
  TurnQueue inputs;
  bool gone = false;                 // nobody looks on any more
  kj::ForkedPromise<void> finished;  // last: it uses the above
};

}  // namespace orch::runtime
