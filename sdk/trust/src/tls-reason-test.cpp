// Handshakes that fail, between two ends of this process: what is told to whom.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/testing/test-authority.h"
#include "orch/trust/peer-link.h"

namespace orch::trust {
namespace {

struct HandshakeFixture {
  explicit HandshakeFixture(kj::StringPtr name)
      : folder(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        authority(folder, "own"),
        foreign(folder, "foreign") {}

  kj::Own<kj::TlsContext> tls(testing::TestAuthority& own, const char* name, int days = 1) {
    auto keys = newKeyRequest();
    auto certificate = own.sign(keys.request, "orch-manager", "n1", name, days);
    bool serves = std::string("manager.orch") == name;
    return newTls(*env, own.certificate(), certificate, keys.key, serves);
  }
  // What a client is told in the handshake, or by the first byte that it waits for.
  std::string told(kj::TlsContext& client, kj::TlsContext& server) {
    auto pipe = io.provider->newTwoWayPipe();
    auto serving =
        server.wrapServer(kj::mv(pipe.ends[0]))
            .then([](kj::Own<kj::AsyncIoStream>&& stream) { auto closed = kj::mv(stream); },
                  [](kj::Exception&&) {})
            .eagerlyEvaluate(nullptr);
    auto secured = attempt(secure(*env, client, kj::mv(pipe.ends[1]))).wait(io.waitScope);
    if (!secured.ok()) return secured.message().cStr();
    char byte;
    auto read = attempt(secured.value()->tryRead(&byte, 1, 1)).wait(io.waitScope);
    return read.ok() ? "" : tlsReason(read.message()).cStr();
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  testing::TestAuthority authority, foreign;
};

TEST_CASE("handshakes: why one failed is told in words", "[trust]") {
  HandshakeFixture f("handshakes");
  auto manager = f.tls(f.authority, "manager.orch");
  auto worker = f.tls(f.authority, "worker.orch");
  CHECK(f.told(*worker, *manager).empty());
  CHECK(f.told(*worker, *worker) == "it is no manager of the cluster");
  auto late = f.tls(f.authority, "manager.orch", -1);
  CHECK_THAT(f.told(*worker, *late), Catch::StartsWith("its certificate has expired, as this"));
  auto lateWorker = f.tls(f.authority, "worker.orch", -1);
  CHECK_THAT(f.told(*lateWorker, *manager),
             Catch::StartsWith("it says that the certificate shown to it has expired; a node "));
  auto stranger = f.tls(f.foreign, "worker.orch");
  CHECK(f.told(*stranger, *manager) == "it is of another cluster");
  auto keys = newKeyRequest();
  auto forged = f.foreign.sign(keys.request, "orch-worker", "n1");
  auto forger = newTls(*f.env, f.authority.certificate(), forged, keys.key, false);
  CHECK(f.told(*forger, *manager) == "it is of another cluster than the certificate shown to it");
  auto nobody = newTls(*f.env, f.authority.certificate(), "", "", false);
  CHECK(f.told(*nobody, *manager) == "it wants a certificate, and none was shown to it");
}

TEST_CASE("handshakes: what is no TLS is told so", "[trust]") {
  HandshakeFixture f("no-tls");
  auto client = f.tls(f.authority, "worker.orch");
  auto pipe = f.io.provider->newTwoWayPipe();
  auto answer = pipe.ends[0]->write("HTTP/1.1 400 Bad Request\r\n", 26).eagerlyEvaluate(nullptr);
  auto secured = attempt(secure(*f.env, *client, kj::mv(pipe.ends[1]))).wait(f.io.waitScope);
  REQUIRE(!secured.ok());
  CHECK(secured.message() == "it does not speak TLS: is that orch's port?");
  CHECK(tlsReason("the certificate 'x' has expired") == "the certificate 'x' has expired");
}

TEST_CASE("certificates: one of another time is refused with both times", "[trust]") {
  HandshakeFixture f("times");
  auto keys = newKeyRequest();
  auto certificate = f.authority.sign(keys.request, "orch-worker", "n1");
  auto holder = holderOf(certificate);
  CHECK_NOTHROW(checkTimes(certificate, "it", holder.notBeforeNs));
  CHECK_NOTHROW(checkTimes(certificate, "it", holder.notAfterNs));
  constexpr int64_t YEAR = 365ll * 24 * 3600 * 1'000'000'000;
  auto why = [&](int64_t now) {
    auto checked = attemptNow([&]() { checkTimes(certificate, "the certificate", now); });
    return std::string(checked.ok() ? "" : checked.message().cStr());
  };
  CHECK_THAT(why(holder.notBeforeNs - YEAR),
             Catch::StartsWith("the certificate is not valid before 20") &&
                 Catch::EndsWith("; is the clock right?"));
  CHECK_THAT(why(holder.notAfterNs + YEAR), Catch::StartsWith("the certificate has expired at 20"));
}

}  // namespace
}  // namespace orch::trust
