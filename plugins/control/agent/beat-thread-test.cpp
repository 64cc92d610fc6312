// In the real world: a thread sends, and this one, which has the loop, stands still meanwhile.
#include "beat-thread.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <kj/io.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/beat.h"

namespace orch::control::agent {
namespace {

// A socket on loopback that waits for half a minute, in which the loop does not turn.
struct Ear {
  kj::AutoCloseFd in;
  uint16_t port = 0;
  BeatKey key{};
  BeatCodec codec;

  Ear() {
    int descriptor;
    KJ_SYSCALL(descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    in = kj::AutoCloseFd(descriptor);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto any = reinterpret_cast<sockaddr*>(&address);
    KJ_SYSCALL(bind(in, any, size));
    KJ_SYSCALL(getsockname(in, any, &size));
    port = ntohs(address.sin_port);
    timeval patience{30, 0};
    KJ_SYSCALL(setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    key[7] = 3;
  }
  Beat hear() {
    uint8_t bytes[BEAT_BYTES + 1];
    ssize_t size;
    KJ_SYSCALL(size = recv(in, bytes, sizeof(bytes), 0));
    auto beat = BeatCodec::read(bytes, static_cast<size_t>(size));
    REQUIRE(beat.has_value());
    REQUIRE(codec.isGenuine(key, bytes));
    return *beat;
  }
  void terms(schema::BeatTerms::Builder terms, uint64_t session) {
    terms.setAddress(kj::str("127.0.0.1:", port));
    terms.setSession(session);
    terms.setKey(kj::arrayPtr(key.data(), key.size()));
    terms.setPeriodMs(20);
  }
};

TEST_CASE("beats: a thread beats while the loop stands still, and says for how long it does",
          "[loop]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  Ear ear;
  BeatThread beats(*env);
  capnp::MallocMessageBuilder message;
  auto terms = message.initRoot<schema::BeatTerms>();
  ear.terms(terms, 11);
  beats.start(terms);
  auto first = ear.hear();
  CHECK(first.session == 11);
  auto last = first;
  while (last.loopLagMs < 100) {
    auto next = ear.hear();
    CHECK(next.sequence > last.sequence);
    last = next;
  }
  // It turns again, and says so.
  while (last.loopLagMs > 0) {
    env->timer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
    last = ear.hear();
  }
  // The next session's beats are its own.
  ear.terms(terms, 12);
  beats.start(terms);
  while (ear.hear().session == 11) {
  }
  CHECK(ear.hear().session == 12);
}

TEST_CASE("beats: terms that cannot be met are none", "[loop]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  Ear ear;
  BeatThread beats(*env);
  capnp::MallocMessageBuilder message;
  auto terms = message.initRoot<schema::BeatTerms>();
  beats.start(terms);
  for (auto address : {"", "somewhere:1", "127.0.0.1"}) {
    ear.terms(terms, 1);
    terms.setAddress(address);
    beats.start(terms);
  }
  ear.terms(terms, 2);
  terms.setKey(kj::arrayPtr(ear.key.data(), 3));
  beats.start(terms);
  ear.terms(terms, 3);
  beats.start(terms);
  CHECK(ear.hear().session == 3);
}

}  // namespace
}  // namespace orch::control::agent
