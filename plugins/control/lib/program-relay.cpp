#include "program-relay.h"

#include "orch/fail.h"

namespace orch::control {

namespace {

using Server = schema::RunningProgram::Server;

class Relay final : public Server {
 public:
  Relay(schema::RunningProgram::Client itsInner, kj::Promise<void> over, kj::String lost,
        kj::Function<void(const ProgramEnd&)> onEnd)
      : inner(kj::mv(itsInner)),
        lost(kj::mv(lost)),
        onEnd(kj::mv(onEnd)),
        over(kj::mv(over).catch_([](kj::Exception&&) {}).then([this] { lose(); }).fork()),
        ended(waitForEnd().fork()) {}
  ~Relay() noexcept(false) { tell(nullptr, kj::str("nobody looked on any more")); }

  kj::Promise<void> wait(WaitContext context) override {
    context.allowCancellation();
    return ended.addBranch().then([this, context]() mutable {
      context.getResults().setExitCode(exitCode);
      if (error.size() > 0) context.getResults().setError(error);
    });
  }
  kj::Promise<void> write(WriteContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    capnp::MessageSize size{8 + params.getData().size() / sizeof(capnp::word), 0};
    auto request = there().writeRequest(size);
    request.setData(params.getData());
    auto taken = request.send().then([context](auto answer) mutable {
      context.getResults(capnp::MessageSize{4, 0}).setTaken(answer.getTaken());
    });
    return untilOver(kj::mv(taken));
  }
  kj::Promise<void> closeInput(CloseInputContext) override {
    return untilOver(there().closeInputRequest().send().ignoreResult());
  }
  kj::Promise<void> resize(ResizeContext context) override {
    auto request = there().resizeRequest();
    request.setSize(context.getParams().getSize());
    return untilOver(request.send().ignoreResult());
  }
  kj::Promise<void> signal(SignalContext context) override {
    auto request = there().signalRequest();
    request.setSignal(context.getParams().getSignal());
    return untilOver(request.send().ignoreResult());
  }
  kj::Promise<void> letGo(LetGoContext) override {
    return untilOver(there().letGoRequest().send().ignoreResult().then(
        [this] { tell(nullptr, kj::str("it goes on by itself")); }));
  }

 private:
  schema::RunningProgram::Client& there() {
    KJ_IF_MAYBE (program, inner) return *program;
    fail(kj::str(lost));
  }
  kj::Promise<void> untilOver(kj::Promise<void> call) {
    return call.exclusiveJoin(over.addBranch().then([this] { fail(kj::str(lost)); }));
  }
  kj::Promise<void> waitForEnd() {
    auto request = there().waitRequest(capnp::MessageSize{4, 0});
    auto end = request.send().then(
        [this](auto answer) {
          exitCode = answer.getExitCode();
          error = kj::str(answer.getError());
          tell(exitCode, kj::str(error));
        },
        [this](kj::Exception&& exception) {
          tell(nullptr, kj::str(plainText(exception)));
          kj::throwFatalException(kj::mv(exception));
        });
    return untilOver(kj::mv(end));
  }
  void lose() {
    inner = nullptr;
    tell(nullptr, kj::str(lost));
  }
  void tell(kj::Maybe<int> code, kj::String why) {
    if (told) return;
    told = true;
    onEnd({code, kj::mv(why)});
  }

  kj::Maybe<schema::RunningProgram::Client> inner;
  const kj::String lost;
  kj::Function<void(const ProgramEnd&)> onEnd;
  bool told = false;
  int exitCode = 0;
  kj::String error;
  kj::ForkedPromise<void> over;
  kj::ForkedPromise<void> ended;
};

}  // namespace

schema::RunningProgram::Client relayProgram(schema::RunningProgram::Client inner,
                                            kj::Promise<void> over, kj::String lost,
                                            kj::Function<void(const ProgramEnd&)> onEnd) {
  return kj::heap<Relay>(kj::mv(inner), kj::mv(over), kj::mv(lost), kj::mv(onEnd));
}

}  // namespace orch::control
