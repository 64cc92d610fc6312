// Another authority in the place of the cluster's: who trusts whom meanwhile, and who is told.
#include "member/rotation.h"

#include <catch2/catch.hpp>

#include <filesystem>

#include "member/test-rotation.h"
#include "orch/trust/openssl.h"
#include "orch/trust/tls.h"
#include "state/records.h"

namespace orch::control::manager {
namespace {

struct PathFixture {
  struct Party {
    std::string chain;
    std::string key;
    std::string trusts;
  };
  // TLS looks at the clock of the host.
  static int64_t nowNs() {
    return (kj::systemCoarseCalendarClock().now() - kj::UNIX_EPOCH) / kj::NANOSECONDS;
  }
  static Authority make() { return Authority::make("default", nowNs()); }
  Party party(const Authority& signer, const std::string& crossed, const std::string& trusts) {
    auto keys = trust::newKeyRequest();
    auto certificate =
        signer.sign(keys.request, schema::Role::MANAGER, "n1", nowNs(), 3'600'000'000'000);
    return {certificate + crossed, keys.key, trusts};
  }
  // Whether each of them takes the other one for a manager of its cluster.
  bool meet(const Party& server, const Party& client) {
    auto open = trust::newTls(world.env(), server.trusts, server.chain, server.key, true);
    auto tls = trust::newTls(world.env(), client.trusts, client.chain, client.key, false);
    auto pipe = kj::newTwoWayPipe();
    // Whoever refuses leaves the other one waiting; the client knows first.
    auto both = open->wrapServer(kj::mv(pipe.ends[0]))
                    .then([](auto&&) { return true; }, [](auto&&) { return false; });
    auto refused = tls->wrapClient(kj::mv(pipe.ends[1]), trust::MANAGER_NAME)
                       .then([](auto&&) -> kj::Promise<bool> { return kj::NEVER_DONE; },
                             [](auto&&) -> kj::Promise<bool> { return false; });
    return both.exclusiveJoin(kj::mv(refused)).wait(world.waitScope());
  }
  testing::VirtualWorld world{testing::testSeed()};
};

TEST_CASE("authority: whoever trusts one trusts those that took its place, by what they show",
          "[manager]") {
  PathFixture f;
  auto first = f.make();
  auto nowNs = PathFixture::nowNs();
  auto second = first.next(nowNs);
  auto third = second.next(nowNs);
  CHECK(second.digest() != first.digest());
  auto toSecond = first.crossed(second, nowNs), toThird = second.crossed(third, nowNs);
  auto away = f.party(first, "", first.certificate());
  auto both = f.party(second, toSecond, second.certificate() + first.certificate());
  auto last = f.party(third, toThird + toSecond,
                      third.certificate() + second.certificate() + first.certificate());
  CHECK(f.meet(both, away));
  CHECK(f.meet(away, both));
  CHECK(f.meet(last, away));
  CHECK(f.meet(away, last));
  CHECK(f.meet(last, both));
  // Once the first is trusted no more, its certificates are nothing.
  auto done = f.party(second, toSecond, second.certificate());
  CHECK(f.meet(done, both));
  CHECK_FALSE(f.meet(done, away));
  // Of the same name, but nobody's successor.
  auto foreign = f.make();
  CHECK_FALSE(f.meet(both, f.party(foreign, first.crossed(second, nowNs), first.certificate())));
  CHECK_FALSE(f.meet(away, f.party(foreign, foreign.crossed(second, nowNs), first.certificate())));
}

TEST_CASE("authority: one opens what took its place, and the key of the state stays", "[manager]") {
  PathFixture f;
  auto first = f.make();
  auto second = first.next(PathFixture::nowNs());
  auto third = second.next(PathFixture::nowNs());
  auto box = first.seal(second);
  auto opened = first.open(box);
  CHECK(opened.encode() == second.encode());
  CHECK_THROWS(second.open(box));
  box.back() ^= 1;
  CHECK_THROWS(first.open(box));
  auto key = first.stateKey();
  CHECK(second.stateKey() == key);
  CHECK(Authority::decode(third.encode()).stateKey() == key);
  CHECK(f.make().stateKey() != key);
}

TEST_CASE("authority: only with its key a salt becomes a token", "[manager]") {
  using schema::Role;
  PathFixture f;
  auto first = f.make();
  auto secret = first.joinSecret(Role::WORKER, "salt");
  CHECK(Authority::decode(first.encode()).joinSecret(Role::WORKER, "salt") == secret);
  CHECK(first.joinSecret(Role::MANAGER, "salt") != secret);
  CHECK(first.joinSecret(Role::WORKER, "salu") != secret);
  CHECK(first.next(PathFixture::nowNs()).joinSecret(Role::WORKER, "salt") != secret);
}

TEST_CASE("rotation: all nodes get certificates of the new authority, and the old one is dropped",
          "[manager]") {
  State stored;
  uint64_t revision = 0;
  RotationFixture f("rotation");
  f.together();
  f.around.store.observe([&](kj::ArrayPtr<const testing::MemoryStore::Written> batch) {
    ++revision;
    for (auto& written : batch) {
      if (written.kind != "cluster") continue;
      takeRecord(stored, written.kind, written.key, KJ_ASSERT_NONNULL(written.value), revision);
    }
  });
  auto before = f.digest(f.one);
  auto token = f.token(f.one);
  CHECK(f.one.kernel.cluster == before);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(f.rotate(f.two, "r1") == "");
  auto after = f.digest(f.two);
  CHECK(after != before);
  CHECK(f.ask(f.one).getRotation().getRuns());
  CHECK(hasSealedKeys(KJ_ASSERT_NONNULL(clusterOf(stored))));
  f.around.advance(5 * kj::SECONDS);
  auto rotation = f.ask(f.one);
  CHECK_FALSE(rotation.getRotation().getRuns());
  CHECK(rotation.getRotation().getNodes() == 2);
  CHECK(rotation.getRotation().getRenewed() == 2);
  for (auto host : {&f.one, &f.two}) {
    CHECK(host->kernel.cluster == after);
    CHECK(trust::certificatesIn(host->kernel.trusted.authorities).size() == 1);
    CHECK(trust::certificatesIn(host->kernel.trusted.former).size() == 1);
    CHECK(host->kernel.renewals == 2);  // with what is trusted meanwhile, and afterwards
  }
  // Nothing opens the new one with the key of the old one any more.
  CHECK_FALSE(hasSealedKeys(KJ_ASSERT_NONNULL(clusterOf(stored))));
  CHECK(trust::parseToken(f.token(f.one)).digest == after);
  CHECK(trust::parseToken(f.token(f.one)).secret != trust::parseToken(token).secret);
  // The same request once more changes nothing.
  CHECK(f.rotate(f.one, "r1") == "");
  CHECK(f.digest(f.one) == after);
  // The other manager has the key: it signs when it leads.
  f.one.cut();
  REQUIRE(f.two.create("web").empty());
  CHECK(f.rotate(f.two, "r2") == "");
  CHECK(f.ask(f.two).getRotation().getRuns());
}

TEST_CASE("rotation: a node that is away is waited for, and follows through several of them",
          "[manager]") {
  RotationFixture f("rotation-away");
  f.together();
  f.two.stop();
  f.around.advance(5 * kj::SECONDS);
  for (auto id : {"r1", "r2"}) CHECK(f.rotate(f.one, id) == "");
  f.around.advance(5 * kj::SECONDS);
  auto rotation = f.ask(f.one);
  CHECK(rotation.getRotation().getRuns());
  CHECK(rotation.getRotation().getRenewed() == 1);
  CHECK(rotation.getRotation().getAway().size() == 1);
  CHECK(trust::certificatesIn(f.one.kernel.trusted.authorities).size() == 3);
  CHECK(trust::certificatesIn(f.one.kernel.trusted.crossed).size() == 2);
  SECTION("it comes back") {
    f.two.start();
    f.around.advance(15 * kj::SECONDS);
    CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
    CHECK(f.two.kernel.cluster == f.digest(f.one));
    CHECK(f.one.kernel.trusted.authorities == f.two.kernel.trusted.authorities);
  }
  SECTION("it is asked for too often") {
    CHECK(f.rotate(f.one, "r3") == "");
    CHECK(f.rotate(f.one, "r4") == "");
    CHECK_THAT(f.rotate(f.one, "r5"), Catch::Contains("has not followed since the authority was "
                                                      "replaced 4 times: bring it back"));
  }
  SECTION("it is removed") {
    f.one.openAgent();
    f.around.settle();
    auto change = f.one.control.updateNodeRequest();
    change.setRequestId("demote");
    change.setId(f.two.id.c_str());
    change.initChange().getRole().setSet(schema::Node::Role::WORKER);
    change.send().wait(f.around.world.waitScope());
    auto removing = f.one.control.removeNodeRequest();
    removing.setRequestId("remove");
    removing.setId(f.two.id.c_str());
    removing.setForce(true);
    removing.send().wait(f.around.world.waitScope());
    CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  }
}

TEST_CASE("rotation: a leader that dies before it has kept the key finds it in the state",
          "[manager]") {
  RotationFixture f("rotation-crash");
  f.together();
  namespace fs = std::filesystem;
  fs::copy_file(f.keyFile(f.one), f.one.folder.sub("kept").cStr());
  REQUIRE(f.rotate(f.one, "r1") == "");
  auto after = f.digest(f.one);
  // Nobody has got so far as to write it.
  for (auto host : {&f.one, &f.two}) {
    host->crash();
    fs::copy_file(f.one.folder.sub("kept").cStr(), f.keyFile(*host),
                  fs::copy_options::overwrite_existing);
  }
  f.two.start();
  f.around.advance(20 * kj::SECONDS);
  CHECK(f.digest(f.two) == after);
  CHECK(f.two.lines("the cluster's authority has been replaced") >= 1);
  CHECK(f.two.kernel.cluster == after);
  f.one.start();
  f.around.advance(20 * kj::SECONDS);
  CHECK_FALSE(f.ask(f.two).getRotation().getRuns());
  CHECK(f.one.kernel.cluster == after);
}

TEST_CASE("rotation: an authority of the user's, or why not", "[manager]") {
  RotationFixture f("rotation-own");
  f.together();
  auto own = Authority::make("acme", f.around.world.env().nowNs());
  auto other = Authority::make("other", f.around.world.env().nowNs());
  CHECK(f.rotate(f.one, "r1", "nonsense", own.encode()) == "usage: this is no certificate in PEM");
  CHECK_THAT(f.rotate(f.one, "r2", own.certificate(), "nonsense"),
             Catch::StartsWith("usage: this is no key in PEM"));
  CHECK(f.rotate(f.one, "r3", own.certificate(), other.encode()) ==
        "usage: the key is not that of the certificate");
  auto keys = trust::newKeyRequest();
  auto leaf = own.sign(keys.request, schema::Role::WORKER, "x", f.around.world.env().nowNs(),
                       3'600'000'000'000);
  CHECK_THAT(f.rotate(f.one, "r4", leaf, keys.key),
             Catch::StartsWith("usage: the certificate is of no authority"));
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(f.rotate(f.one, "r5", own.certificate(), own.encode()) == "");
  f.around.advance(5 * kj::SECONDS);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(f.two.kernel.cluster == trust::digestOf(own.certificate()));
  CHECK_THAT(f.rotate(f.one, "r6", own.certificate(), own.encode()),
             Catch::StartsWith("usage: this is, or was, the cluster's authority"));
}

TEST_CASE("rotation: one that is refused changes nothing else either", "[manager]") {
  RotationFixture f("rotation-refused");
  f.together();
  auto expiryMs = [&] {
    auto info = f.one.control.infoRequest().send().wait(f.around.world.waitScope());
    return info.getInfo().getCluster().getCertificateMs();
  };
  auto before = expiryMs();
  auto own = Authority::make("acme", f.around.world.env().nowNs());
  REQUIRE(f.rotate(f.one, "r1", own.certificate(), own.encode()) == "");
  auto rotate = [&](const char* id, uint64_t certificateMs) {
    auto request = f.one.control.rotateAuthorityRequest();
    request.setRequestId(id);
    request.setCertificate(own.certificate().c_str());
    request.setKey(own.encode().c_str());
    request.setCertificateMs(certificateMs);
    auto done = attempt(request.send()).wait(f.around.world.waitScope());
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  constexpr uint64_t HOUR_MS = 3'600'000;
  CHECK_THAT(rotate("r2", 2 * HOUR_MS),
             Catch::StartsWith("usage: this is, or was, the cluster's authority"));
  CHECK(expiryMs() == before);
  CHECK_THAT(rotate("r3", 1), Catch::StartsWith("usage: --cert-expiry must be"));
}

constexpr int64_t DAY_NS = 24ll * 3'600 * 1'000'000'000;

struct GivenAuthority {
  std::string certificate, key;
};

// As a user may have it. `constraints`: on names.
GivenAuthority givenAuthority(EVP_PKEY* made, int64_t nowNs, int64_t days,
                              const char* constraints = nullptr) {
  using namespace trust::openssl;
  PrivateKey key(made);
  REQUIRE(key != nullptr);
  auto certificate = blankCertificate(key.get(), nowNs, nowNs + days * DAY_NS);
  auto* root = certificate.get();
  addName(X509_get_subject_name(root), "CN", "acme");
  X509_set_issuer_name(root, X509_get_subject_name(root));
  addExtension(root, root, NID_basic_constraints, "critical,CA:TRUE");
  addExtension(root, root, NID_subject_key_identifier, "hash");
  if (constraints != nullptr) addExtension(root, root, NID_name_constraints, constraints);
  REQUIRE(X509_sign(root, key.get(), EVP_sha256()) > 0);
  return {pemOf(root), pemOf(key.get())};
}

TEST_CASE("rotation: an authority of the user's is tried before anything is changed", "[manager]") {
  RotationFixture f("rotation-tried");
  f.together();
  auto nowNs = f.around.world.env().nowNs();
  auto before = f.digest(f.one);
  int count = 0;
  auto take = [&](EVP_PKEY* key, int64_t days, const char* constraints = nullptr) {
    auto given = givenAuthority(key, nowNs, days, constraints);
    return f.rotate(f.one, kj::str("given", ++count).cStr(), given.certificate, given.key);
  };
  const std::string keys = "usage: the authority's key must be of EC P-256, EC P-384 or RSA";
  CHECK_THAT(take(EVP_RSA_gen(1024), 400), Catch::StartsWith(keys));
  CHECK_THAT(take(EVP_EC_gen("P-521"), 400), Catch::StartsWith(keys));
  CHECK_THAT(take(EVP_EC_gen("P-256"), 400, "critical,permitted;DNS:example.com"),
             Catch::StartsWith("usage: no node would take certificates of this authority: "));
  CHECK_THAT(take(EVP_EC_gen("P-256"), 179),
             Catch::StartsWith("usage: the authority ends at ") &&
                 Catch::Contains(", but nodes' certificates are good for 90 days: it must not end "
                                 "before " +
                                 trust::timeText(nowNs + 180 * DAY_NS)));
  CHECK(f.digest(f.one) == before);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(take(EVP_EC_gen("P-384"), 181) == "");
  f.around.advance(5 * kj::SECONDS);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(take(EVP_RSA_gen(2048), 181) == "");
  f.around.advance(5 * kj::SECONDS);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  CHECK(f.two.kernel.cluster == f.digest(f.one));
}

TEST_CASE("authority: what it signs ends with it, and nothing is signed afterwards", "[manager]") {
  auto authority = Authority::make("default", 0);
  auto request = trust::newKeyRequest().request;
  auto endNs = trust::endNsOf(authority.certificate());
  auto until = [&](int64_t nowNs) {
    auto leaf = authority.sign(request, schema::Role::WORKER, "n1", nowNs, 90 * DAY_NS);
    return trust::holderOf(leaf).notAfterNs;
  };
  CHECK(until(endNs - 91 * DAY_NS) == endNs - DAY_NS);
  CHECK(until(endNs - 30 * DAY_NS) == endNs);
  auto late = attemptNow([&] { until(endNs + DAY_NS); });
  REQUIRE_FALSE(late.ok());
  CHECK_THAT(late.message().cStr(), Catch::StartsWith("the cluster's authority has ended at "));
}

}  // namespace
}  // namespace orch::control::manager
