#include "sim-program.h"

#include <csignal>
#include <cstdlib>

#include "orch/fail.h"
#include "signals.h"

namespace orch::runtime::sim {

namespace {

using Stream = schema::LogLine::Stream;

class SimProgram final : public schema::RunningProgram::Server, private kj::TaskSet::ErrorHandler {
 public:
  SimProgram(kj::Own<Container> itsContainer, schema::Program::Reader program,
             schema::ProgramOutput::Client to)
      : container(kj::mv(itsContainer)),
        output(to, Stream::STDOUT),
        errors(to, Stream::STDERR),
        hasInput(program.getInput()),
        ended(nullptr),
        tasks(*this) {
    for (auto word : program.getCommand()) words.push_back(word.cStr());
    if (words.empty()) fail(kj::str("no command"));
    auto pair = kj::newPromiseAndFulfiller<void>();
    endSeen = kj::mv(pair.fulfiller);
    ended = pair.promise.fork();
    tasks.add(begin());
    tasks.add(
        container->whenExited().then([this] { end(128 + SIGKILL, "its container has ended"); }));
  }

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return ended.addBranch().then([this, context]() mutable {
      context.getResults().setExitCode(exitCode);
      if (!error.empty()) context.getResults().setError(error.c_str());
    });
  }
  kj::Promise<void> write(WriteContext context) override {
    bool reads = hasInput && words[0] == "echo" && endSeen->isWaiting();
    context.getResults().setTaken(reads);
    if (!reads) return kj::READY_NOW;
    return output.send(context.getParams().getData());
  }
  kj::Promise<void> closeInput(CloseInputContext) override {
    if (words[0] == "echo") end(code(), "");
    return kj::READY_NOW;
  }
  kj::Promise<void> resize(ResizeContext) override { return kj::READY_NOW; }
  kj::Promise<void> signal(SignalContext context) override {
    end(128 + signalNumber(context.getParams().getSignal()), "");
    return kj::READY_NOW;
  }
  kj::Promise<void> letGo(LetGoContext) override { return kj::READY_NOW; }

 private:
  int code() const { return words.size() > 1 ? atoi(words[1].c_str()) : 0; }
  void end(int status, kj::StringPtr why) {
    if (!endSeen->isWaiting()) return;
    exitCode = status;
    error = why.cStr();
    endSeen->fulfill();
  }
  Task<void> begin() {
    if (words[0] == "missing") {
      end(127, "cannot run 'missing': no such program");
    } else if (words[0] == "flood") {
      auto chunk = kj::heapArray<kj::byte>(OutputPump::CHUNK_BYTES);
      memset(chunk.begin(), 'y', chunk.size());
      for (;;) co_await output.send(chunk);
    } else if (words[0] == "echo") {
      if (!hasInput) end(code(), "");
    } else if (words[0] != "stay") {
      for (size_t i = 2; i < words.size() && i < 4; ++i) {
        auto& stream = i == 2 ? output : errors;
        if (!words[i].empty()) co_await stream.send(kj::StringPtr(words[i].c_str()).asBytes());
        co_await stream.flush();
      }
      end(words[0] == "exit" ? code() : 0, "");
    }
  }
  void taskFailed(kj::Exception&& exception) override { endSeen->reject(kj::mv(exception)); }

  kj::Own<Container> container;
  OutputPump output;
  OutputPump errors;
  std::vector<std::string> words;
  const bool hasInput;
  int exitCode = 0;
  std::string error;
  kj::Own<kj::PromiseFulfiller<void>> endSeen;
  kj::ForkedPromise<void> ended;
  kj::TaskSet tasks;
};

class SimAttached final : public schema::RunningProgram::Server, private Listener {
 public:
  SimAttached(Env& env, kj::Own<Container> itsContainer, bool input,
              schema::ProgramOutput::Client to)
      : env(env),
        container(kj::mv(itsContainer)),
        takesInput(input && (container->hasTerminal || container->isInteractive)),
        output(kj::mv(to)),
        finished(finish().promise().fork()) {
    container->listeners.push_back(this);
  }
  ~SimAttached() noexcept(false) { goAway(); }

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return finished.addBranch().then(
        [this, context]() mutable { context.getResults().setExitCode(container->exitCode); });
  }
  kj::Promise<void> write(WriteContext context) override {
    bool taken = takesInput && container->stage == Container::Stage::RUNNING;
    context.getResults().setTaken(taken);
    if (!taken) return kj::READY_NOW;
    for (auto listener : container->listeners) listener->heard(context.getParams().getData());
    return kj::READY_NOW;
  }
  kj::Promise<void> closeInput(CloseInputContext) override { return kj::READY_NOW; }
  kj::Promise<void> resize(ResizeContext) override { return kj::READY_NOW; }
  kj::Promise<void> signal(SignalContext context) override {
    container->hear(signalNumber(context.getParams().getSignal()), env.nowNs());
    return kj::READY_NOW;
  }
  kj::Promise<void> letGo(LetGoContext) override {
    goAway();
    return kj::READY_NOW;
  }

 private:
  void goAway() { std::erase(container->listeners, static_cast<Listener*>(this)); }
  void heard(kj::ArrayPtr<const kj::byte> bytes) override { output.add(Stream::STDOUT, bytes); }
  Task<void> finish() {
    kj::Vector<kj::Promise<void>> all;
    // What is joined is looked at when all of it is there.
    all.add(container->whenExited().then([this] { output.close(); }).eagerlyEvaluate(nullptr));
    all.add(output.run());
    auto passedOn = kj::joinPromises(all.releaseAsArray());
    co_await passedOn;
  }

  Env& env;
  kj::Own<Container> container;
  const bool takesInput;
  AttachedOutput output;
  kj::ForkedPromise<void> finished;  // last: it uses the above
};

}  // namespace

schema::RunningProgram::Client attachTo(Env& env, kj::Own<Container> container, bool input,
                                        schema::ProgramOutput::Client output) {
  return kj::heap<SimAttached>(env, kj::mv(container), input, kj::mv(output));
}

schema::RunningProgram::Client runProgram(kj::Own<Container> container,
                                          schema::Program::Reader program,
                                          schema::ProgramOutput::Client output) {
  return kj::heap<SimProgram>(kj::mv(container), program, kj::mv(output));
}

}  // namespace orch::runtime::sim
