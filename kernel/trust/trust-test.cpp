#include "kernel/trust/trust.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "orch/attempt.h"
#include "orch/testing/test-authority.h"

namespace orch::trust {
namespace {

struct TrustFixture {
  explicit TrustFixture(kj::StringPtr name)
      : folder(name), io(kj::setupAsyncIo()), env(newSystemEnv(io)), authority(folder, "own") {}
  kj::Own<Trust> load(const char* listen = "127.0.0.1:0") {
    auto trust = kj::heap<Trust>(*env, logger, registry, folder.path().cStr(), listen);
    trust->load().wait(io.waitScope);
    return trust;
  }
  // What the manager plugin does on the first host of a cluster; why it was refused.
  std::string adopt(Trust& trust, testing::TestAuthority& signer) {
    auto service = trust.service();
    auto asked = service.requestRequest().send().wait(io.waitScope);
    auto adopt = service.adoptRequest();
    adopt.setCertificate(signer.sign(asked.getRequest().cStr(), "orch-manager", "n1"));
    adopt.setAuthority(authority.certificate());
    adopt.setAddress("127.0.0.1:2377");
    auto done = attempt(adopt.send().ignoreResult()).wait(io.waitScope);
    return done.ok() ? "" : done.message().cStr();
  }
  void begin(Trust& trust) {
    trust.begin([](schema::Peer::Reader) -> schema::Gateway::Client { fail(kj::str("nobody")); })
        .wait(io.waitScope);
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  log::Logger logger{"kernel", schema::LogLevel::ERROR};
  rpc::Registry registry;
  testing::TestAuthority authority;
};

TEST_CASE("trust: credentials are on the disk for nobody else, and there after a restart",
          "[trust]") {
  TrustFixture f("trust-file");
  auto file = f.folder.sub("credentials");
  {
    auto trust = f.load();
    f.begin(*trust);
    CHECK(trust->nodeId() == "");
    testing::TestAuthority foreign(f.folder, "foreign");
    CHECK(f.adopt(*trust, foreign) == "the certificate is not signed by the cluster's authority");
    CHECK(access(file.cStr(), F_OK) < 0);
    CHECK(f.adopt(*trust, f.authority) == "");
    CHECK(trust->nodeId() == "n1");
  }
  struct stat info = {};
  REQUIRE(stat(file.cStr(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getMember());
  CHECK(state.getState().getNodeId() == "n1");
  CHECK(state.getState().getRole() == schema::Role::MANAGER);
}

TEST_CASE(
    "trust: an address that is not this host's changes nothing, and a start goes on without it",
    "[trust]") {
  TrustFixture f("trust-address");
  auto file = f.folder.sub("credentials");
  {
    auto trust = f.load("192.0.2.1:2377");
    f.begin(*trust);
    CHECK_THAT(f.adopt(*trust, f.authority),
               Catch::StartsWith(
                   "cannot listen at '192.0.2.1:2377': Cannot assign requested address; is "));
    CHECK(access(file.cStr(), F_OK) < 0);
    CHECK(trust->nodeId() == "");
  }
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
  }
  auto trust = f.load("192.0.2.1:2377");
  f.begin(*trust);
  CHECK(trust->nodeId() == "n1");
}

TEST_CASE("trust: a renewed certificate is this node's, durable, and shown from then on",
          "[trust]") {
  TrustFixture f("trust-renewed");
  std::string renewed;
  {
    auto trust = f.load();
    f.begin(*trust);
    auto service = trust->service();
    auto why = [&](const std::string& certificate) {
      auto request = service.renewRequest();
      request.setCertificate(certificate);
      auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
      return std::string(done.ok() ? "" : done.message().cStr());
    };
    CHECK(why("") == "nobody has asked for a certificate");
    REQUIRE(f.adopt(*trust, f.authority) == "");
    auto asked = service.requestRequest().send().wait(f.io.waitScope);
    std::string request = asked.getRequest().cStr();
    CHECK(why(f.authority.sign(request, "orch-manager", "n2")) ==
          "the certificate is not this node's");
    CHECK(why(f.authority.sign(request, "orch-worker", "n1")) ==
          "the certificate is not this node's");
    testing::TestAuthority foreign(f.folder, "foreign");
    CHECK(why(foreign.sign(request, "orch-manager", "n1")) ==
          "the certificate is not signed by the cluster's authority");
    renewed = f.authority.sign(request, "orch-manager", "n1", "manager.orch", 7);
    CHECK(why(renewed) == "");
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getNotAfterNs() == holderOf(renewed).notAfterNs);
  CHECK(state.getState().getAddress() == "127.0.0.1:2377");
}

TEST_CASE("trust: credentials that are damaged are refused by name", "[trust]") {
  TrustFixture f("trust-damaged");
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
  }
  auto file = f.folder.sub("credentials");
  {
    std::fstream bytes(file.cStr(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(100);
    bytes.put('~');
  }
  Trust trust(*f.env, f.logger, f.registry, f.folder.path().cStr(), "");
  auto loaded = attempt(trust.load()).wait(f.io.waitScope);
  REQUIRE(!loaded.ok());
  CHECK_THAT(loaded.message().cStr(),
             Catch::StartsWith(kj::str("the node's credentials '", file, "' is damaged: ").cStr()));
  CHECK_THAT(loaded.message().cStr(), Catch::Contains("join the cluster again with 'orch join'"));
}

}  // namespace
}  // namespace orch::trust
