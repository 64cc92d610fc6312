#include "zookeeper/testing/test-relay.h"

#include <kj/debug.h>

namespace orch::zookeeper {

namespace {

uint32_t numberAt(const std::string& bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = at; i < at + 4; ++i) number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

// A length and so many bytes, as they came; empty at the end.
Task<std::string> nextFrame(kj::AsyncIoStream& stream) {
  std::string frame(4, '\0');
  auto got = co_await stream.tryRead(frame.data(), 4, 4);
  if (got < 4) co_return std::string();
  auto size = numberAt(frame, 0);
  frame.resize(4 + size);
  if (size > 0) co_await stream.read(frame.data() + 4, size);
  co_return kj::mv(frame);
}

// Calls are numbered from 1 on; what is not a call has no number above zero. The first frame of a
// connection, each way, begins with a version instead, which is zero.
bool isCall(const std::string& frame) {
  return frame.size() >= 8 && static_cast<int32_t>(numberAt(frame, 4)) > 0;
}

}  // namespace

struct TestRelay::Pair {
  kj::Own<kj::AsyncIoStream> client;
  kj::Own<kj::AsyncIoStream> server;
};

TestRelay::TestRelay(kj::AsyncIoContext& io, uint16_t port)
    : network(io.provider->getNetwork()),
      port(port),
      receiver(network.parseAddress("127.0.0.1").wait(io.waitScope)->listen()),
      pairs(newPairs()) {
  tasks.add(accept());
}

kj::Own<kj::TaskSet> TestRelay::newPairs() {
  kj::TaskSet::ErrorHandler& handler = *this;
  return kj::heap<kj::TaskSet>(handler);
}

Task<void> TestRelay::accept() {
  for (;;) {
    auto client = co_await receiver->accept();
    if (!isCut) pairs->add(serve(kj::mv(client)));
  }
}

void TestRelay::cut() {
  isCut = true;
  pairs = newPairs();
}
void TestRelay::reach() { isCut = false; }

Task<void> TestRelay::serve(kj::Own<kj::AsyncIoStream> client) {
  auto address = co_await network.parseAddress("127.0.0.1", port);
  Pair pair;
  pair.client = kj::mv(client);
  pair.server = co_await address->connect();
  auto both = back(pair).promise().exclusiveJoin(forth(pair).promise());
  co_await both;
}

Task<void> TestRelay::forth(Pair& pair) {
  std::string kept;
  for (;;) {
    auto frame = co_await nextFrame(*pair.client);
    if (frame.empty()) break;
    bool keep = holding && (isCall(frame) || !kept.empty());
    if (keep) {
      kept += frame;
      keeps = true;
    } else {
      co_await pair.server->write(frame.data(), frame.size());
    }
  }
  if (!kept.empty()) calls.push_back(Held{kj::mv(pair.server), kj::mv(kept)});
}

Task<void> TestRelay::passHeld() {
  holding = false;
  passed = kj::mv(calls);
  calls.clear();
  for (auto& one : passed) {
    co_await one.server->write(one.bytes.data(), one.bytes.size());
    auto answer = co_await nextFrame(*one.server);
  }
}

Task<void> TestRelay::back(Pair& pair) {
  for (;;) {
    auto frame = co_await nextFrame(*pair.server);
    if (frame.empty()) co_return;
    bool spared = spare > 0 && isCall(frame);
    if (spared) --spare;
    bool drop = !spared && lose > 0 && isCall(frame);
    if (drop) {
      --lose;
      ++counted;
      co_return;
    }
    co_await pair.client->write(frame.data(), frame.size());
  }
}

}  // namespace orch::zookeeper
