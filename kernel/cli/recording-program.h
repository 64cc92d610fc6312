// For tests: a program that the recording server runs.
#pragma once

#include "orch/fail.h"
#include "recording-server.h"

namespace orch::cli {

// Says what it reads on stdout and what it is told on stderr, to the end of its input; what it
// cannot run is `nothing-there`.
class RecordedProgram final : public schema::RunningProgram::Server {
 public:
  RecordedProgram(RecordingServer& owner, schema::Program::Reader program,
                  schema::ProgramOutput::Client output)
      : owner(owner), output(kj::mv(output)), missing(program.getCommand()[0] == "nothing-there") {
    auto pair = kj::newPromiseAndFulfiller<void>();
    end = kj::mv(pair.fulfiller);
    ended = pair.promise.fork();
    bool over = missing || !program.getInput();
    if (over && owner.programEnds) end->fulfill();
  }
  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return ended.addBranch().then([this, context]() mutable {
      if (owner.programLost) fail(kj::str("node 'n2' was lost while this ran"));
      context.getResults().setExitCode(missing ? 127 : 7);
      if (missing) context.getResults().setError("cannot run 'nothing-there': not there");
    });
  }
  kj::Promise<void> write(WriteContext context) override {
    context.getResults().setTaken(true);
    return say(schema::LogLine::Stream::STDOUT, context.getParams().getData());
  }
  kj::Promise<void> closeInput(CloseInputContext) override {
    return say(schema::LogLine::Stream::STDERR, "end of input\n"_kj.asBytes()).then([this] {
      end->fulfill();
    });
  }
  kj::Promise<void> signal(SignalContext context) override {
    owner.calls.push_back(kj::str("signal ", context.getParams().getSignal()).cStr());
    end->fulfill();
    return kj::READY_NOW;
  }
  kj::Promise<void> letGo(LetGoContext) override {
    owner.calls.push_back("letGo");
    if (missing) fail(kj::str("cannot run 'nothing-there': not there"));
    return kj::READY_NOW;
  }

 private:
  kj::Promise<void> say(schema::LogLine::Stream stream, kj::ArrayPtr<const kj::byte> bytes) {
    auto request = output.writeRequest();
    request.setStream(stream);
    request.setData(bytes);
    return request.send().ignoreResult();
  }
  RecordingServer& owner;
  schema::ProgramOutput::Client output;
  const bool missing;
  kj::Own<kj::PromiseFulfiller<void>> end;
  kj::ForkedPromise<void> ended = nullptr;
};

// The own process of a task, to which somebody is attached.
inline schema::RunningProgram::Client recordedMain(RecordingServer& owner, bool input,
                                                   schema::ProgramOutput::Client output) {
  capnp::MallocMessageBuilder message;
  auto program = message.initRoot<schema::Program>();
  program.initCommand(1).set(0, "main");
  program.setInput(input && owner.takesInput);
  return kj::heap<RecordedProgram>(owner, program.asReader(), kj::mv(output));
}

}  // namespace orch::cli
