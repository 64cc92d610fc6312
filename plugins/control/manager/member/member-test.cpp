// Certificates: who gets one, until when, and who is refused afterwards.
#include <catch2/catch.hpp>

#include "member/authority.h"
#include "member/renewer.h"
#include "member/test-member.h"

namespace orch::control::manager {
namespace {

constexpr int64_t HOUR_NS = 3'600'000'000'000;

TEST_CASE("admins: one is let in with its certificate until it is removed", "[manager]") {
  MemberFixture f("admins");
  auto keys = trust::newKeyRequest();
  CHECK_THAT(f.errorOf([&] { f.add("ann", "1", keys.request); }),
             Catch::StartsWith("nobody can join this cluster yet"));
  f.init();
  auto added = f.add("ann", "2", keys.request);
  std::string certificate = added.getAdmin().getCertificate().cStr();
  trust::checkSigned(certificate, added.getAuthority().cStr(), keys.key);
  auto ann = trust::holderOf(certificate);
  CHECK(ann.role == schema::Role::ADMIN);
  CHECK(ann.id == "ann");
  CHECK(added.getManagers()[0] == "10.0.0.1:2377");
  // A retry after a lost answer gets the same; somebody else does not get the name.
  CHECK(f.add("ann", "2", trust::newKeyRequest().request).getAdmin().getCertificate() ==
        certificate.c_str());
  CHECK_THAT(f.errorOf([&] { f.add("ann", "3", keys.request); }),
             Catch::StartsWith("there is an admin 'ann' already; 'orch admin rm ann' first"));
  CHECK_THAT(f.errorOf([&] { f.add("a b", "4", keys.request); }),
             Catch::StartsWith("usage: the admin name 'a b' must be"));
  CHECK_THAT(f.errorOf([&] { f.add("bob", "5", "no request"); }),
             Catch::StartsWith("usage: this is no certificate request"));

  CHECK(f.refusal("admin", ann).empty());
  auto forged = ann;
  forged.fingerprint = std::string(64, '0');
  CHECK_THAT(f.refusal("admin", forged), Catch::StartsWith("the admin 'ann' was removed"));
  auto worker = ann;
  worker.role = schema::Role::WORKER;
  CHECK(f.refusal("admin", worker) == "this is for admins");

  // The kernel waits for the end of the admission, and hears of it at once.
  auto admission = f.open("admin", ann).wait(f.scope()).castAs<schema::Admission>();
  auto ended = admission.endedRequest().send();
  f.cluster.advance(1 * kj::MINUTES);
  CHECK_FALSE(ended.poll(f.scope()));
  f.remove("ann");
  CHECK(ended.wait(f.scope()).getReason() == "the admin 'ann' was removed");
  CHECK_THAT(f.refusal("admin", ann), Catch::StartsWith("the admin 'ann' was removed"));
  CHECK(f.errorOf([&] { f.remove("nobody"); }) ==
        "there is no admin 'nobody'; 'orch admin ls' lists them");
  // Who gets the name next has another certificate.
  f.add("ann", "6", keys.request);
  CHECK_THAT(f.refusal("admin", ann), Catch::StartsWith("the admin 'ann' was removed"));
  CHECK(f.cluster.control.adminsRequest().send().wait(f.scope()).getAdmins().size() == 1);
}

TEST_CASE("admins: one renews its certificate, and the one before counts until it ends",
          "[manager]") {
  MemberFixture f("admins-renewal");
  f.init(2 * HOUR_NS / 1'000'000);
  auto keys = trust::newKeyRequest();
  auto added = f.add("ann", "1", keys.request);
  auto first = trust::holderOf(std::string(added.getAdmin().getCertificate().cStr()));
  f.cluster.advance(1 * kj::HOURS);
  auto renew = [&](const trust::Holder& as) {
    auto renewal = f.open("renewal", as).wait(f.scope()).castAs<schema::Renewal>();
    auto request = renewal.renewRequest();
    request.setRequest(trust::requestFor(keys.key).c_str());
    std::string certificate = request.send().wait(f.scope()).getCertificate().cStr();
    trust::checkSigned(certificate, added.getAuthority().cStr(), keys.key);
    return trust::holderOf(certificate);
  };
  auto admission = f.open("admin", first).wait(f.scope()).castAs<schema::Admission>();
  auto ended = admission.endedRequest().send();
  auto second = renew(first);
  CHECK(second.id == "ann");
  CHECK(second.role == schema::Role::ADMIN);
  CHECK(second.notAfterNs - first.notAfterNs >= HOUR_NS - 1'000'000'000);
  auto admins = f.cluster.control.adminsRequest().send().wait(f.scope());
  REQUIRE(admins.getAdmins().size() == 1);
  CHECK(admins.getAdmins()[0].getFingerprint() == second.fingerprint.c_str());
  CHECK(f.refusal("admin", first).empty());  // the answer may have been lost
  CHECK(f.refusal("admin", second).empty());
  CHECK(f.lines("an admin's certificate has been renewed") == 1);
  auto third = renew(first);
  CHECK(f.refusal("admin", second).empty());
  f.cluster.advance(2 * kj::HOURS);
  auto last = renew(third);
  CHECK_THAT(f.refusal("admin", first), Catch::StartsWith("the admin 'ann' was removed"));
  CHECK_FALSE(ended.poll(f.scope()));
  f.remove("ann");
  CHECK(ended.poll(f.scope()));
  for (auto& holder : {third, last}) {
    CHECK_THAT(f.refusal("admin", holder), Catch::StartsWith("the admin 'ann' was removed"));
    CHECK_THAT(f.refusal("renewal", holder), Catch::StartsWith("the admin 'ann' was removed"));
  }
}

TEST_CASE("admins: they survive a restart of the manager", "[manager]") {
  MemberFixture f("admins-restart");
  f.init();
  auto added = f.add("ann", "1", trust::newKeyRequest().request);
  auto ann = trust::holderOf(std::string(added.getAdmin().getCertificate().cStr()));
  f.cluster.stop();
  f.cluster.start();
  CHECK(f.refusal("admin", ann).empty());
}

TEST_CASE("renewal: between 50 and 80 % of a certificate's life, without its backdating",
          "[manager]") {
  auto at = [](double chance) {
    return trust::renewalNs(-HOUR_NS, 100 * HOUR_NS, chance) / HOUR_NS;
  };
  CHECK(at(0) == 50);
  CHECK(at(1) == 80);
  CHECK(trust::renewalNs(0, HOUR_NS / 2, 0.5) == HOUR_NS / 2);
}

TEST_CASE("renewal: what a long time without power has made late is done at the next start",
          "[manager]") {
  MemberFixture f("renewal-late");
  f.init();
  f.cluster.stop();
  f.cluster.world.standStill(365 * kj::DAYS);
  f.cluster.start();
  f.cluster.settle();
  CHECK(f.kernel.renewals == 1);
  CHECK(f.lines("this node's certificate has been renewed") == 1);
}

TEST_CASE("renewal: for nodes of the cluster, as who they are", "[manager]") {
  MemberFixture f("renewal-nodes");
  f.init();
  f.cluster.addNode("node1").open();
  f.cluster.settle();
  trust::Holder worker;
  worker.id = "node1";
  auto keys = trust::newKeyRequest();
  auto ask = [&](const char* id) {
    worker.id = id;
    auto renewal = f.open("renewal", worker).wait(f.scope()).castAs<schema::Renewal>();
    auto request = renewal.renewRequest();
    request.setRequest(keys.request.c_str());
    return request.send().wait(f.scope());
  };
  auto renewed = trust::holderOf(std::string(ask("node1").getCertificate().cStr()));
  CHECK(renewed.id == "node1");
  CHECK(renewed.role == schema::Role::WORKER);
  CHECK(f.errorOf([&] { ask("node2"); }) == "this node was removed from the cluster");
}

// A Renewer alone, so that days cost nothing; who signs does as it is told.
struct RenewerFixture {
  RenewerFixture()
      : world(testing::testSeed()),
        recorder("/nowhere", "/nowhere"),
        authority(Authority::make("test", world.env().nowNs())) {
    recorder.addService("trust", kernel.client());
    recorder.addService("renewal", kj::heap<Signer>(*this));
    kernel.member = true;
    kernel.holder = trust::holderOf(sign(trust::newKeyRequest().request));
    host = kj::heap<Host>(recorder.client(), NodeFacts());
    renewer = kj::heap<Renewer>(world.env(), *host, [](std::string) {});
    renewer->start();
  }
  std::string sign(const std::string& request) {
    return authority.sign(request, role, "node1", world.env().nowNs(), 100 * HOUR_NS);
  }
  void give(schema::Role other) {
    role = other;
    KJ_IF_MAYBE (fulfiller, roleAsked) (*fulfiller)->fulfill();
  }
  uint32_t lines(const char* text) {
    uint32_t count = 0;
    for (auto& line : recorder.logLines()) count += line.find(text) != std::string::npos;
    return count;
  }

  testing::VirtualWorld world;
  TestTrust kernel;
  testing::TestHost recorder;
  Authority authority;
  kj::Own<Host> host;
  kj::Own<Renewer> renewer;
  bool signs = true;
  uint32_t asked = 0;
  schema::Role role = schema::Role::MANAGER;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> roleAsked;

 private:
  class Signer final : public schema::Renewal::Server {
   public:
    explicit Signer(RenewerFixture& all) : all(all) {}
    kj::Promise<void> renew(RenewContext context) override {
      ++all.asked;
      if (!all.signs) return KJ_EXCEPTION(FAILED, "there is no manager");
      auto signedFor = all.sign(context.getParams().getRequest().cStr());
      context.getResults().setCertificate(signedFor.c_str());
      return kj::READY_NOW;
    }
    kj::Promise<void> awaitRole(AwaitRoleContext context) override {
      auto answer = [this, context]() mutable { context.getResults().setRole(all.role); };
      if (context.getParams().getCurrent() != all.role) {
        answer();
        return kj::READY_NOW;
      }
      auto pair = kj::newPromiseAndFulfiller<void>();
      all.roleAsked = kj::mv(pair.fulfiller);
      return pair.promise.then(kj::mv(answer));
    }

   private:
    RenewerFixture& all;
  };
};

TEST_CASE("renewal: a node that is to be something else is it at once, if it can be", "[manager]") {
  RenewerFixture f;
  f.world.advance(1 * kj::HOURS);
  CHECK(f.asked == 0);
  f.give(schema::Role::WORKER);
  f.world.advance(1 * kj::SECONDS);
  CHECK(f.kernel.holder.role == schema::Role::WORKER);
  CHECK(f.kernel.renewals == 1);
  f.signs = false;
  f.give(schema::Role::MANAGER);
  f.world.advance(1 * kj::MINUTES);
  CHECK(f.kernel.holder.role == schema::Role::WORKER);
  CHECK(f.asked > 5);
  f.signs = true;
  f.world.advance(10 * kj::SECONDS);
  CHECK(f.kernel.holder.role == schema::Role::MANAGER);
  CHECK(f.kernel.renewals == 2);
}

TEST_CASE("renewal: in time, again and again", "[manager]") {
  RenewerFixture f;
  auto first = f.kernel.holder;
  f.world.advance(49 * kj::HOURS);
  CHECK(f.kernel.renewals == 0);
  f.world.advance(32 * kj::HOURS);
  CHECK(f.kernel.renewals == 1);
  CHECK(f.kernel.holder.id == first.id);
  CHECK(f.kernel.holder.fingerprint != first.fingerprint);
  CHECK(f.kernel.holder.notAfterNs > first.notAfterNs);
  f.world.advance(1000 * kj::HOURS);
  CHECK(f.kernel.renewals >= 1 + 1000 / 80);
  CHECK(f.kernel.renewals <= 1 + 1000 / 50);
}

TEST_CASE("renewal: a failure is told once and tried again, ever more slowly", "[manager]") {
  RenewerFixture f;
  f.signs = false;
  f.world.advance(49 * kj::HOURS);
  CHECK(f.asked == 0);
  f.world.advance(50 * kj::HOURS);
  // 5 s, 10 s … an hour.
  CHECK(f.asked >= 20);
  CHECK(f.asked <= 60);
  CHECK(f.lines("trust.renewal-failed") == 1);
  CHECK(f.lines("trust.certificate-expired") == 0);
  f.world.advance(10 * kj::HOURS);
  CHECK(f.lines("trust.certificate-expired") == 1);
  f.signs = true;
  f.world.advance(3 * kj::HOURS);
  CHECK(f.kernel.renewals == 1);
}

TEST_CASE("renewal: a clock that is far ahead does not have it renewed all the time", "[manager]") {
  RenewerFixture f;
  f.kernel.holder.notAfterNs -= 10'000 * HOUR_NS;
  f.kernel.holder.notBeforeNs -= 10'000 * HOUR_NS;
  f.kernel.ahead = true;
  f.world.advance(1 * kj::HOURS);
  CHECK(f.asked == 13);  // every five minutes
}

}  // namespace
}  // namespace orch::control::manager
