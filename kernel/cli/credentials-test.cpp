#include "credentials.h"

#include <capnp/rpc-twoparty.h>
#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "connection.h"
#include "orch/attempt.h"
#include "orch/testing/env-around.h"
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

TEST_CASE("credentials: the next certificate takes the place of the last one, or nothing does",
          "[cli]") {
  CredentialsFixture f("cli-credentials-renewed");
  auto keys = trust::newKeyRequest();
  auto first = f.certificateFor(keys, 10);
  requireRoomForCredentials(f.home);
  writeCredentials(f.home, keys.key, first + f.authority.certificate());
  constexpr int64_t DAY_NS = 24ll * 3600 * 1'000'000'000;
  auto nowNs = f.now(first) + 2 * DAY_NS;
  auto own = readCredentials(f.home, nowNs);
  CHECK(renewalOf(own, nowNs + 2 * DAY_NS) == Renewal::NOT_YET);
  CHECK(renewalOf(own, nowNs + 6 * DAY_NS + DAY_NS / 2) == Renewal::LATE);
  int64_t due = nowNs + 2 * DAY_NS;
  while (renewalOf(own, due) == Renewal::NOT_YET) due += DAY_NS / 24;
  CHECK(renewalOf(own, due) == Renewal::DUE);

  auto strangers = trust::newKeyRequest();
  auto wrong = attemptNow([&] { keepRenewed(f.home, own, f.certificateFor(strangers)); });
  CHECK_FALSE(wrong.ok());
  CHECK(readCredentials(f.home, nowNs).certificate == first);
  auto second = f.authority.sign(trust::requestFor(keys.key), "orch-admin", "ann", "admin.orch", 9);
  keepRenewed(f.home, own, second);
  auto now = readCredentials(f.home, nowNs);
  CHECK(now.certificate == second);
  CHECK(now.key == keys.key);
  CHECK(now.authority == own.authority);
  struct stat info = {};
  REQUIRE(stat(kj::str(f.home, "/admin.pem").cStr(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
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

class AheadEnv final : public testing::EnvAround, private kj::Clock {
 public:
  AheadEnv(Env& real, kj::Duration ahead) : EnvAround(real), ahead(ahead) {}
  const kj::Clock& clock() override { return *this; }

 private:
  kj::Date now() const override { return real.clock().now() + ahead; }
  const kj::Duration ahead;
};

// Signs for two days.
class Signing final : public schema::Renewal::Server {
 public:
  explicit Signing(testing::TestAuthority& authority) : authority(authority) {}
  kj::Promise<void> renew(RenewContext context) override {
    ++asked;
    if (refuses) fail(kj::str("not today"));
    auto request = context.getParams().getRequest();
    context.getResults().setCertificate(
        authority.sign(request.cStr(), "orch-admin", "ann", "admin.orch", 2).c_str());
    return kj::READY_NOW;
  }
  uint32_t asked = 0;
  bool refuses = false;

 private:
  testing::TestAuthority& authority;
};

// Whatever it is asked for, it has one service.
class OneService final : public schema::Gateway::Server {
 public:
  explicit OneService(capnp::Capability::Client only) : only(kj::mv(only)) {}
  kj::Promise<void> service(ServiceContext context) override {
    context.getResults().setCapability(only);
    return kj::READY_NOW;
  }

 private:
  capnp::Capability::Client only;
};

TEST_CASE("credentials: a certificate that comes to its end is renewed when it is used", "[cli]") {
  CredentialsFixture f("cli-credentials-used");
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto keys = trust::newKeyRequest();
  auto first = f.certificateFor(keys);
  requireRoomForCredentials(f.home);
  writeCredentials(f.home, keys.key, first + f.authority.certificate());
  auto kept = [&] { return readCredentials(f.home, env->nowNs()).certificate; };

  auto managers = trust::newKeyRequest();
  auto shown = f.authority.sign(managers.request, "orch-manager", "n1", "manager.orch");
  auto tls = trust::newTls(*env, f.authority.certificate(), shown, managers.key, true);
  auto address = env->network().parseAddress("127.0.0.1:0").wait(io.waitScope);
  auto listening = address->listen();
  Target target;
  // The first one that can be reached.
  target.managers.add(kj::str("127.0.0.1:1"));
  target.managers.add(kj::str("127.0.0.1:", listening->getPort()));
  target.credentials = kj::str(f.home);
  auto signing = kj::heap<Signing>(f.authority);
  auto& manager = *signing;
  schema::Renewal::Client renewal = kj::mv(signing);
  capnp::TwoPartyServer server(schema::Gateway::Client(kj::heap<OneService>(renewal)));
  auto port = tls->wrapPort(kj::mv(listening));
  auto serving = server.listen(*port).eagerlyEvaluate(nullptr);
  auto use = [&](kj::Duration ahead) {
    AheadEnv later(*env, ahead);
    Target again;
    for (auto& manager : target.managers) again.managers.add(kj::str(manager));
    again.credentials = kj::str(target.credentials);
    Connection connection(later, kj::mv(again));
    connection.cluster().wait(io.waitScope);
    return std::string(connection.warning().cStr());
  };

  CHECK(use(10 * kj::HOURS) == "");
  CHECK(manager.asked == 0);
  manager.refuses = true;
  CHECK_THAT(use(20 * kj::HOURS), Catch::Contains("is good until ") &&
                                      Catch::EndsWith(" and cannot be renewed: not today"));
  CHECK(manager.asked == 1);
  CHECK(kept() == first);
  manager.refuses = false;
  CHECK(use(20 * kj::HOURS) == "");
  CHECK(manager.asked == 2);
  auto second = kept();
  CHECK(second != first);
  CHECK(use(20 * kj::HOURS) == "");
  CHECK(manager.asked == 2);
  CHECK(kept() == second);
}

}  // namespace
}  // namespace orch::cli
