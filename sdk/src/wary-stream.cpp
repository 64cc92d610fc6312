#include "orch/wary-stream.h"

#include <capnp/rpc.capnp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "orch/fail.h"
#include "orch/task.h"

namespace orch {

namespace {

constexpr uint64_t WITHOUT_LIMIT = ~0ull;
// Of a connection. One of a node has some hundreds at most, one for each task that starts.
constexpr uint32_t MAX_QUESTIONS = 10'000;

// A stream that reads differently; the rest is the inner one's.
class Reread final : public kj::AsyncIoStream {
 public:
  Reread(kj::Maybe<kj::byte> first, uint64_t limit, kj::Own<kj::AsyncIoStream> stream)
      : first(first), limit(limit), left(limit), stream(kj::mv(stream)) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    if (most == 0) return size_t{0};
    // Less than `least` would be the end of the stream.
    if (left < kj::max(least, 1u)) fail(kj::str("it says more than ", limit, " bytes"));
    most = kj::min(most, left);
    auto* bytes = static_cast<kj::byte*>(buffer);
    size_t there = 0;
    KJ_IF_MAYBE (byte, first) {
      bytes[there++] = *byte;
      first = nullptr;
      if (least <= there) return count(there);
    }
    return stream->tryRead(bytes + there, least - there, most - there)
        .then([this, there](size_t n) { return count(there + n); });
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    return stream->write(buffer, size);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return stream->write(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return stream->whenWriteDisconnected(); }
  void shutdownWrite() override { stream->shutdownWrite(); }
  void abortRead() override { stream->abortRead(); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    stream->getsockopt(level, option, value, length);
  }

 private:
  size_t count(size_t n) {
    left -= n;
    return n;
  }

  kj::Maybe<kj::byte> first;
  const uint64_t limit;
  uint64_t left;
  kj::Own<kj::AsyncIoStream> stream;
};

// Writes in pieces, each of which has its time.
class Impatient final : public kj::AsyncIoStream {
 public:
  static constexpr size_t PIECE = 64 << 10;

  Impatient(kj::Timer& timer, kj::Duration limit, kj::Own<kj::AsyncIoStream> stream)
      : timer(timer), limit(limit), stream(kj::mv(stream)) {}

  kj::Promise<size_t> tryRead(void* buffer, size_t least, size_t most) override {
    return stream->tryRead(buffer, least, most);
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    auto bytes = kj::arrayPtr(static_cast<const kj::byte*>(buffer), size);
    if (size <= PIECE) return inTime(stream->write(bytes.begin(), bytes.size()));
    return writeLong(bytes);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    size_t size = 0;
    for (auto piece : pieces) size += piece.size();
    return size <= PIECE ? inTime(stream->write(pieces)) : writeEach(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return stream->whenWriteDisconnected(); }
  void shutdownWrite() override { stream->shutdownWrite(); }
  void abortRead() override { stream->abortRead(); }
  void getsockopt(int level, int option, void* value, kj::uint* length) override {
    stream->getsockopt(level, option, value, length);
  }

 private:
  kj::Promise<void> inTime(kj::Promise<void> written) {
    return written.exclusiveJoin(timer.afterDelay(limit).then([this]() {
      fail(kj::str("it has taken nothing of what it was sent for ", limit / kj::SECONDS, " s"));
    }));
  }
  Task<void> writeLong(kj::ArrayPtr<const kj::byte> bytes) {
    while (bytes.size() > 0) {
      auto size = kj::min(bytes.size(), PIECE);
      co_await inTime(stream->write(bytes.begin(), size));
      bytes = bytes.slice(size, bytes.size());
    }
  }
  Task<void> writeEach(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
    for (auto piece : pieces) co_await writeLong(piece);
  }

  kj::Timer& timer;
  const kj::Duration limit;
  kj::Own<kj::AsyncIoStream> stream;
};

class ToldMessages final : public capnp::MessageStream {
 public:
  ToldMessages(kj::AsyncIoStream& stream, kj::Function<void(kj::StringPtr)> told)
      : inner(stream), told(kj::mv(told)) {}

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override {
    auto idle = kj::mv(writing);
    writing = kj::READY_NOW;
    return idle
        .then(
            [this, fds, options, scratch]() { return inner.tryReadMessage(fds, options, scratch); })
        .then([this](kj::Maybe<capnp::MessageReaderAndFds>&& message) {
          KJ_IF_MAYBE (there, message) count(*there->reader);
          return kj::mv(message);
        })
        .catch_([this](kj::Exception&& exception) -> kj::Maybe<capnp::MessageReaderAndFds> {
          tellAndThrow(kj::mv(exception));
        });
  }
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override {
    return remember(inner.writeMessage(fds, segments));
  }
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override {
    return remember(inner.writeMessages(messages));
  }
  kj::Maybe<int> getSendBufferSize() override { return inner.getSendBufferSize(); }
  kj::Promise<void> end() override { return inner.end(); }

 private:
  // RPC keeps what it has answered until the other end is done with it.
  void count(capnp::MessageReader& message) {
    using Message = capnp::rpc::Message;
    auto kind = message.getRoot<Message>().which();
    if (kind == Message::CALL || kind == Message::BOOTSTRAP) ++questions;
    if (kind == Message::FINISH && questions > 0) --questions;
    if (questions > MAX_QUESTIONS) {
      fail(kj::str("it has more than ", MAX_QUESTIONS, " questions open"));
    }
  }
  [[noreturn]] void tellAndThrow(kj::Exception&& exception) {
    bool broken = exception.getType() == kj::Exception::Type::DISCONNECTED;
    if (!broken) told(plainText(exception));
    kj::throwFatalException(kj::mv(exception));
  }
  kj::Promise<void> remember(kj::Promise<void> write) {
    auto written =
        write.catch_([this](kj::Exception&& exception) { tellAndThrow(kj::mv(exception)); }).fork();
    writing = written.addBranch().catch_([](kj::Exception&&) {});
    return written.addBranch();
  }

  capnp::AsyncIoMessageStream inner;
  kj::Function<void(kj::StringPtr)> told;
  kj::Promise<void> writing = kj::READY_NOW;  // what is on its way
  uint32_t questions = 0;                     // that the other end is not done with
};

}  // namespace

kj::Own<kj::AsyncIoStream> putBack(kj::byte first, kj::Own<kj::AsyncIoStream> stream) {
  return kj::heap<Reread>(first, WITHOUT_LIMIT, kj::mv(stream));
}

kj::Own<kj::AsyncIoStream> impatient(kj::Timer& timer, kj::Duration limit,
                                     kj::Own<kj::AsyncIoStream> stream) {
  return kj::heap<Impatient>(timer, limit, kj::mv(stream));
}

kj::Own<kj::AsyncIoStream> bounded(uint64_t bytes, kj::Own<kj::AsyncIoStream> stream) {
  return kj::heap<Reread>(nullptr, bytes, kj::mv(stream));
}

void keepAlive(kj::AsyncIoStream& stream, kj::Duration limit) {
  auto seconds = static_cast<int>(limit / kj::SECONDS);
  auto milliseconds = static_cast<int>(limit / kj::MILLISECONDS);
  // tcp(7): with TCP_USER_TIMEOUT it is that time that counts, and not how many probes.
  int options[][3] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                      {IPPROTO_TCP, TCP_KEEPIDLE, kj::max(seconds / 2, 1)},
                      {IPPROTO_TCP, TCP_KEEPINTVL, kj::max(seconds / 6, 1)},
                      {IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds}};
  for (auto& [level, option, value] : options) {
    stream.setsockopt(level, option, &value, sizeof(value));
  }
}

kj::Own<capnp::MessageStream> newToldMessages(kj::AsyncIoStream& stream,
                                              kj::Function<void(kj::StringPtr)> told) {
  return kj::heap<ToldMessages>(stream, kj::mv(told));
}

}  // namespace orch
