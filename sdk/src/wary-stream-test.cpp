#include "orch/wary-stream.h"

#include <capnp/rpc.capnp.h>
#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch {
namespace {

// What is read from `newToldMessages` is written at the other end of a pipe.
struct MessageFixture {
  MessageFixture()
      : io(kj::setupAsyncIo()), pipe(io.provider->newTwoWayPipe()), far(*pipe.ends[1]) {
    near = newToldMessages(*pipe.ends[0], [this](kj::StringPtr reason) { told = reason.cStr(); });
  }
  // Whether it was taken in.
  bool send(capnp::rpc::Message::Which kind) {
    capnp::MallocMessageBuilder message(64);
    auto root = message.initRoot<capnp::rpc::Message>();
    if (kind == capnp::rpc::Message::CALL) root.initCall();
    if (kind == capnp::rpc::Message::FINISH) root.initFinish();
    auto written = far.writeMessage(nullptr, message.getSegmentsForOutput());
    auto read = attempt(near->tryReadMessage(nullptr, capnp::ReaderOptions(), nullptr));
    written.wait(io.waitScope);
    return kj::mv(read).wait(io.waitScope).ok();
  }

  kj::AsyncIoContext io;
  kj::TwoWayPipe pipe;
  capnp::AsyncIoMessageStream far;
  kj::Own<capnp::MessageStream> near;
  std::string told;
};

TEST_CASE("wary streams: open questions are counted, those that are done with are not", "[sdk]") {
  using Message = capnp::rpc::Message;
  MessageFixture f;
  constexpr uint32_t MOST = 10'000;
  bool all = true;
  for (uint32_t i = 0; i < MOST; ++i) all = all && f.send(Message::CALL);
  for (uint32_t i = 0; i < MOST; ++i) all = all && f.send(Message::FINISH);
  for (uint32_t i = 0; i < MOST; ++i) all = all && f.send(Message::CALL);
  CHECK(all);
  CHECK(f.told.empty());
  CHECK_FALSE(f.send(Message::CALL));
  CHECK(f.told == "it has more than 10000 questions open");
}

TEST_CASE("wary streams: a write that nobody takes fails when its time is over", "[sdk]") {
  auto io = kj::setupAsyncIo();
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  auto pipe = io.provider->newTwoWayPipe();
  auto stream = impatient(timer, 10 * kj::SECONDS, kj::mv(pipe.ends[0]));
  // More than two sockets hold.
  std::string text(32 << 20, 'x');
  auto written = attempt(stream->write(text.data(), text.size())).promise();
  auto pass = [&](int seconds) {
    io.waitScope.poll();
    timer.advanceTo(timer.now() + seconds * kj::SECONDS);
    io.waitScope.poll();
  };
  for (int i = 0; i < 10; ++i) {
    pass(9);
    // As long as something is taken, it goes on.
    std::string taken(1 << 20, '\0');
    pipe.ends[1]->read(taken.data(), taken.size()).wait(io.waitScope);
  }
  CHECK_FALSE(written.poll(io.waitScope));
  pass(10);
  auto outcome = written.wait(io.waitScope);
  REQUIRE(!outcome.ok());
  CHECK(outcome.message() == "it has taken nothing of what it was sent for 10 s");
}

}  // namespace
}  // namespace orch
