#include "orch/trust/certificate.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/testing/test-authority.h"

namespace orch::trust {
namespace {

template <typename F>
std::string failureOf(F&& run) {
  auto outcome = attemptNow(run);
  return outcome.ok() ? "" : outcome.message().cStr();
}

TEST_CASE("certificates: one is taken if the cluster's authority has signed it for this key",
          "[trust]") {
  testing::TestFolder folder("certificates");
  testing::TestAuthority authority(folder, "own"), foreign(folder, "foreign");
  auto keys = newKeyRequest(), others = newKeyRequest();
  auto certificate = authority.sign(keys.request, "orch-worker", "node1");
  auto holder = holderOf(certificate);
  CHECK(holder.role == schema::Role::WORKER);
  CHECK(holder.id == "node1");
  CHECK(holder.notAfterNs > holder.notBeforeNs);
  checkSigned(certificate, authority.certificate(), keys.key);
  CHECK(failureOf([&]() { checkSigned(certificate, foreign.certificate(), keys.key); }) ==
        "the certificate is not signed by the cluster's authority");
  CHECK(failureOf([&]() { checkSigned(certificate, authority.certificate(), others.key); }) ==
        "the certificate is not for this node's key");
  auto king = authority.sign(keys.request, "orch-king", "node1");
  CHECK(failureOf([&]() { holderOf(king); }) ==
        "the certificate's OU 'orch-king' is no role of orch");
}

TEST_CASE("certificates: the digest is of one certificate and nothing behind it", "[trust]") {
  testing::TestFolder folder("digests");
  testing::TestAuthority authority(folder, "own"), foreign(folder, "foreign");
  CHECK(digestOf(authority.certificate()).size() == 64);
  CHECK(failureOf([&]() { digestOf(authority.certificate() + foreign.certificate()); }) ==
        "there is something behind the certificate");
  CHECK(failureOf([]() { digestOf("-----BEGIN CERTIFICATE-----\nAAAA\n"); }) ==
        "this is no certificate in PEM");
}

TEST_CASE("tokens: what is one, and what is not", "[trust]") {
  std::string digest(64, 'a');
  auto token = parseToken("ORCHTKN-1-" + digest + "-secret");
  CHECK(token.digest == digest);
  CHECK(token.secret == "secret");
  for (std::string wrong :
       {std::string(), std::string("ORCHTKN-1-"), "ORCHTKN-1-" + digest,
        "ORCHTKN-1-" + digest + "-", "ORCHTKN-2-" + digest + "-secret",
        "SWMTKN-1-" + digest + "-secret", "ORCHTKN-1-" + digest.substr(1) + "-secret",
        "ORCHTKN-1-a" + digest + "-secret", "ORCHTKN-1-" + std::string(64, 'x') + "-secret",
        " ORCHTKN-1-" + digest + "-secret"}) {
    INFO(wrong);
    CHECK_THAT(
        failureOf([&]() { parseToken(wrong); }),
        Catch::StartsWith("usage: this is no token of orch: expected ORCHTKN-1-<64 digits>"));
  }
}

}  // namespace
}  // namespace orch::trust
