#include "credentials.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "orch/attempt.h"
#include "orch/testing/test-authority.h"
#include "orch/trust/certificate.h"
#include "recording-server.h"

namespace orch::cli {
namespace {

struct CredentialsFixture {
  explicit CredentialsFixture(kj::StringPtr name)
      : folder(name), authority(folder, "own"), home(folder.sub("home")) {}
  std::string certificateFor(const trust::KeyRequest& keys, int days = 1) {
    return authority.sign(keys.request, "orch-admin", "ann", "admin.orch", days);
  }
  int64_t now(const std::string& certificate) { return trust::holderOf(certificate).notBeforeNs; }
  std::string why(int64_t nowNs) {
    auto read = attemptNow([&] { readCredentials(home, nowNs); });
    return read.ok() ? "" : read.message().cStr();
  }

  testing::TestFolder folder;
  testing::TestAuthority authority;
  kj::String home;
};

TEST_CASE("credentials: written for nobody else, and read as they were written", "[cli]") {
  CredentialsFixture f("cli-credentials");
  auto keys = trust::newKeyRequest();
  auto certificate = f.certificateFor(keys);
  auto nowNs = f.now(certificate);
  CHECK_THAT(f.why(nowNs), Catch::StartsWith(kj::str("there are no credentials in '", f.home,
                                                     "': 'orch admin request' makes")
                                                 .cStr()));
  requireRoomForCredentials(f.home);
  writeCredentials(f.home, keys.key, "");
  CHECK_THAT(f.why(nowNs), Catch::Contains("and no certificate: keep as admin.pem beside it"));
  requireRoomForCredentials(f.home);  // of a request that came to nothing
  writeCredentials(f.home, keys.key, certificate + f.authority.certificate());
  auto found = readCredentials(f.home, nowNs);
  CHECK(found.key == keys.key);
  CHECK(found.certificate == certificate);
  CHECK(found.authority == f.authority.certificate());
  auto mode = [&](kj::StringPtr path) {
    struct stat info = {};
    REQUIRE(stat(path.cStr(), &info) == 0);
    return info.st_mode & 07777;
  };
  CHECK(mode(f.home) == 0700);
  CHECK(mode(kj::str(f.home, "/admin.key")) == 0600);
  auto again = attemptNow([&] { requireRoomForCredentials(f.home); });
  REQUIRE(!again.ok());
  CHECK_THAT(again.message().cStr(), Catch::Contains("already: name another folder"));
  chmod(kj::str(f.home, "/admin.key").cStr(), 0640);
  CHECK_THAT(f.why(nowNs), Catch::StartsWith("others may read the key '"));
}

TEST_CASE("credentials: what is out of date or does not fit together is told", "[cli]") {
  CredentialsFixture f("cli-credentials-wrong");
  auto keys = trust::newKeyRequest();
  auto certificate = f.certificateFor(keys);
  auto nowNs = f.now(certificate);
  constexpr int64_t YEAR_NS = 365ll * 24 * 3600 * 1'000'000'000;
  requireRoomForCredentials(f.home);
  writeCredentials(f.home, keys.key, certificate + f.authority.certificate());
  CHECK_THAT(f.why(nowNs + YEAR_NS), Catch::Contains("' has expired at ") &&
                                         Catch::Contains("'orch admin rm' and 'orch admin add'"));
  CHECK_THAT(f.why(nowNs - YEAR_NS), Catch::Contains("is not valid before"));
  writeCredentials(f.home, trust::newKeyRequest().key, "");
  CHECK(f.why(nowNs) == "the certificate is not for this node's key");
  writeCredentials(f.home, keys.key, certificate);
  CHECK(f.why(nowNs) == "this is no certificate in PEM");
  writeCredentials(f.home, "", "nothing");
  CHECK_THAT(f.why(nowNs), Catch::Contains("holds no certificate as 'orch admin add' prints it"));
}

TEST_CASE("credentials: a manager is asked with the folder that was named", "[cli]") {
  RecordingServer server;
  auto home = server.tryPath("home"), other = server.tryPath("other");
  auto ran = server.run({"--host", "tcp://127.0.0.1:1", "node", "ls"}, {"HOME=" + home});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "orch: there are no credentials in '" + home + "/.orch': "));
  Words words = {"-H", "tcp://127.0.0.1:1", "--credentials", other, "node", "ls"};
  CHECK(has(server.run(words).errors, "there are no credentials in '" + other + "'"));
  auto told = server.run({"-H", "tcp://127.0.0.1:1", "node", "ls"},
                         {"HOME=" + home, "ORCH_CREDENTIALS=" + other});
  CHECK(has(told.errors, "there are no credentials in '" + other + "'"));
  CHECK(has(server.run({"-H", "tcp://127.0.0.1:1", "node", "ls"}).errors, "there is no HOME"));
  auto made = server.run({"admin", "request", "--out", other});
  CHECK(made.status == 0);
  CHECK(made.out.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
  CHECK(has(made.errors, "The key is in '" + other + "' and stays there."));
  CHECK(access((other + "/admin.key").c_str(), R_OK) == 0);
  CHECK(server.calls.empty());
}

}  // namespace
}  // namespace orch::cli
