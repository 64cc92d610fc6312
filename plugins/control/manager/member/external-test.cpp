// An authority whose key others have: what it is asked, and which answers count.
#include <capnp/message.h>
#include <catch2/catch.hpp>
#include <kj/function.h>

#include "member/authority.h"
#include "member/external-signer.h"
#include "orch/attempt.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {
namespace {

using schema::Role;

constexpr int64_t EXTERNAL_NOW = 1'800'000'000'000'000'000;
constexpr int64_t EXTERNAL_HOUR = 3'600'000'000'000;

std::string whyNot(kj::Function<void()> of) {
  auto outcome = attemptNow([&] { of(); });
  return outcome.ok() ? "" : outcome.message().cStr();
}

TEST_CASE("external authority: the server is asked for a subject and hosts", "[manager]") {
  CHECK(
      signText("PEM\n", Role::WORKER, "n1") ==
      "{\"certificate_request\":\"PEM\\n\",\"hosts\":[\"worker.orch\"],\"subject\":{\"CN\":\"n1\","
      "\"names\":[{\"O\":\"orch\",\"OU\":\"orch-worker\"}]}}");
  CHECK(signText("", Role::MANAGER, "n1").find("[\"manager.orch\",\"worker.orch\"]") !=
        std::string::npos);
  CHECK(crossText("PEM") == "{\"certificate_request\":\"PEM\",\"profile\":\"CA\"}");
}

TEST_CASE("external authority: what the server says when it does not sign is told", "[manager]") {
  auto why = [](kj::StringPtr answer) { return whyNot([&] { certificateIn(answer); }); };
  CHECK(why("{\"success\":false,\"result\":null,\"errors\":[{\"code\":5300,\"message\":\"Policy "
            "violation\"}],\"messages\":[]}") == "it says: Policy violation");
  CHECK(why("<html>") == "it does not answer as cfssl does; is the URL right?");
  for (auto text : {"{}", "[]", "7", "{\"result\":{}}", "{\"errors\":7,\"result\":[]}",
                    "{\"result\":{\"certificate\":7}}", "{\"errors\":[{}]}"}) {
    CHECK(why(text) == "it answers without a certificate; is the URL right?");
  }
}

TEST_CASE("external authority: an answer that is not what was asked for does not count",
          "[manager]") {
  auto authority = Authority::make("acme", EXTERNAL_NOW);
  auto stranger = Authority::make("acme", EXTERNAL_NOW);
  auto request = trust::newKeyRequest().request, other = trust::newKeyRequest().request;
  auto made = [&](const Authority& by, const std::string& of, Role role, const char* id) {
    return by.sign(of, role, id, EXTERNAL_NOW, EXTERNAL_HOUR);
  };
  auto why = [&](const std::string& certificate) {
    return whyNot([&] {
      checkSignedAs(certificate, request, authority.certificate(), Role::WORKER, "n1",
                    EXTERNAL_NOW);
    });
  };
  CHECK(why(made(authority, request, Role::WORKER, "n1")) == "");
  CHECK(why(made(authority, other, Role::WORKER, "n1")) ==
        "it has signed another key than was asked for");
  for (auto& wrong : {made(authority, request, Role::WORKER, "n2"),
                      made(authority, request, Role::MANAGER, "n1")}) {
    CHECK_THAT(why(wrong), Catch::StartsWith("it has signed another name than was asked for"));
  }
  CHECK_THAT(why(made(stranger, request, Role::WORKER, "n1")),
             Catch::Contains("no node would take certificates of this authority"));
}

TEST_CASE("external authority: where it is", "[manager]") {
  auto why = [](const char* protocol, const char* url) {
    return whyNot([&] {
      capnp::MallocMessageBuilder message;
      auto named = message.initRoot<schema::ExternalAuthority>();
      named.setProtocol(protocol);
      named.setUrl(url);
      SigningPlace::of(named);
    });
  };
  for (auto url : {"https://10.0.0.9:8888/api/v1/cfssl/sign", "https://ca.example.com",
                   "http://127.0.0.1:8888", "http://[::1]:8888/sign"}) {
    CHECK(why("cfssl", url) == "");
  }
  CHECK(why("acme", "https://10.0.0.9") ==
        "usage: the protocol of an external authority is cfssl, not 'acme'");
  CHECK(why("cfssl", "http://10.0.0.9:8888") ==
        "usage: an external authority on another host is asked by https://, not "
        "'http://10.0.0.9:8888'");
  for (auto url : {"", "ca.example.com", "ftp://ca.example.com", "https://", "https://:1/"}) {
    CHECK_THAT(why("cfssl", url), Catch::StartsWith("usage: the external authority: "));
  }
}

TEST_CASE("external authority: managers have no key of it, and what they need beside",
          "[manager]") {
  auto root = Authority::make("acme", EXTERNAL_NOW);
  auto first = Authority::external(root.certificate(), EXTERNAL_NOW, 24 * EXTERNAL_HOUR);
  CHECK(first.isExternal());
  CHECK(first.digest() == root.digest());
  auto kept = Authority::decode(first.encode());
  CHECK(kept.isExternal());
  CHECK(kept.stateKey() == first.stateKey());
  CHECK(kept.joinSecret(Role::WORKER, "salt") == first.joinSecret(Role::WORKER, "salt"));
  // Of the same authority, another cluster's secrets are others.
  auto another = Authority::external(root.certificate(), EXTERNAL_NOW, 24 * EXTERNAL_HOUR);
  CHECK(another.joinSecret(Role::WORKER, "salt") != first.joinSecret(Role::WORKER, "salt"));
  // In the place of one's own, and the other way round.
  auto own = Authority::make("default", EXTERNAL_NOW);
  auto next = own.nextExternal(root.certificate(), EXTERNAL_NOW, 24 * EXTERNAL_HOUR);
  CHECK(next.stateKey() == own.stateKey());
  CHECK(own.open(own.seal(next)).encode() == next.encode());
  auto last = next.next(EXTERNAL_NOW);
  CHECK_FALSE(last.isExternal());
  CHECK(last.stateKey() == own.stateKey());
  CHECK_THAT(whyNot([&] { Authority::external("nonsense", EXTERNAL_NOW, EXTERNAL_HOUR); }),
             Catch::StartsWith("usage: this is no certificate in PEM"));
}

}  // namespace
}  // namespace orch::control::manager
