// Certificates: who gets one, until when, and who is refused afterwards.
#include <catch2/catch.hpp>

#include "member/authority.h"
#include "member/renewer.h"
#include "member/test-trust.h"
#include "orch/fail.h"
#include "orch/schema/discovery.capnp.h"
#include "orch/schema/gateway.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

constexpr int64_t HOUR_NS = 3'600'000'000'000;

struct MemberFixture {
  explicit MemberFixture(kj::StringPtr name)
      : folder(name), cluster(1000, testing::testSeed(), folder.path()) {
    cluster.host.addService("trust", kernel.client());
    cluster.start();
  }
  void init(uint64_t certificateMs = 0) {
    auto request = cluster.control.initRequest();
    request.setRequestId("init");
    request.setAddress("10.0.0.1");
    request.setCertificateMs(certificateMs);
    request.send().wait(scope());
  }
  capnp::Response<schema::ClusterControl::AddAdminResults> add(kj::StringPtr name,
                                                               kj::StringPtr requestId,
                                                               const std::string& csr) {
    auto request = cluster.control.addAdminRequest();
    request.setRequestId(requestId);
    request.setName(name);
    request.setRequest(csr.c_str());
    return request.send().wait(scope());
  }
  void remove(kj::StringPtr name) {
    auto request = cluster.control.removeAdminRequest();
    request.setRequestId(kj::str("remove-", name));
    request.setName(name);
    request.send().wait(scope());
  }
  template <typename F>
  std::string errorOf(F&& run) {
    auto outcome = attemptNow(run);
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  // As a kernel asks for a peer of this certificate.
  kj::Promise<capnp::Capability::Client> open(const char* service, const trust::Holder& holder) {
    auto request = cluster.peers.at(service).openRequest();
    auto peer = request.initPeer();
    peer.setRole(holder.role);
    peer.setId(holder.id.c_str());
    peer.setFingerprint(holder.fingerprint.c_str());
    return request.send().then([](auto&& answer) { return answer.getService(); });
  }
  std::string refusal(const char* service, const trust::Holder& holder) {
    auto opened = attempt(open(service, holder)).wait(scope());
    return opened.ok() ? "" : opened.message().cStr();
  }
  uint32_t lines(const char* text) {
    uint32_t count = 0;
    for (auto& line : cluster.host.logLines()) count += line.find(text) != std::string::npos;
    return count;
  }
  kj::WaitScope& scope() { return cluster.world.waitScope(); }

  testing::TestFolder folder;
  TestTrust kernel;
  TestCluster cluster;
};

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
    kernel.member = true;
    kernel.holder = trust::holderOf(sign(trust::newKeyRequest().request));
    host = kj::heap<Host>(recorder.client(), NodeFacts());
    renewer = kj::heap<Renewer>(world.env(), *host, [this](kj::String request) {
      ++asked;
      return signs ? kj::Promise<kj::String>(kj::str(sign(request.cStr()).c_str()))
                   : KJ_EXCEPTION(FAILED, "there is no manager");
    });
    renewer->start();
  }
  std::string sign(const std::string& request) {
    return authority.sign(request, schema::Role::MANAGER, "node1", world.env().nowNs(),
                          100 * HOUR_NS);
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
};

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

// The service `discovery` of a node.
struct TestDiscovery {
  std::vector<std::string> announced;  // `manager 10.0.0.1:2377 <cluster> <node>`
  kj::Maybe<schema::DiscoverySink::Client> sink;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> watch;

  schema::NodeDiscovery::Client client() { return kj::heap<Server>(*this); }
  struct Entry {
    const char* address;
    schema::DiscoveryEntry::Role role;
    std::string cluster;
  };
  void tell(const std::vector<Entry>& all, kj::WaitScope& scope) {
    auto request = KJ_ASSERT_NONNULL(sink).entriesRequest();
    auto list = request.initEntries(all.size());
    for (uint32_t i = 0; i < all.size(); ++i) {
      list[i].setAddress(all[i].address);
      list[i].setRole(all[i].role);
      list[i].setClusterDigest(all[i].cluster.c_str());
    }
    request.send().wait(scope);
  }

 private:
  class Server final : public schema::NodeDiscovery::Server {
   public:
    explicit Server(TestDiscovery& discovery) : discovery(discovery) {}
    kj::Promise<void> announce(AnnounceContext context) override {
      auto entry = context.getParams().getEntry();
      discovery.announced.emplace_back(kj::str(entry.getRole(), " ", entry.getAddress(), " ",
                                               entry.getClusterDigest(), " ", entry.getNodeId())
                                           .cStr());
      return kj::READY_NOW;
    }
    kj::Promise<void> watch(WatchContext context) override {
      context.allowCancellation();
      discovery.sink = context.getParams().getSink();
      auto pair = kj::newPromiseAndFulfiller<void>();
      discovery.watch = kj::mv(pair.fulfiller);
      return kj::mv(pair.promise);
    }

   private:
    TestDiscovery& discovery;
  };
};

TEST_CASE("discovery: a member announces itself, and its kernel hears where managers are",
          "[manager]") {
  using Role = schema::DiscoveryEntry::Role;
  MemberFixture f("member-discovery");
  TestDiscovery discovery;
  f.cluster.host.addService("discovery", discovery.client());
  f.cluster.settle();
  CHECK(discovery.announced.empty());
  f.init();
  f.cluster.settle();
  auto token = f.cluster.control.joinTokenRequest().send().wait(f.scope());
  auto digest = trust::parseToken(token.getToken().cStr()).digest;
  REQUIRE(discovery.announced.size() == 1);
  CHECK_THAT(discovery.announced[0], Catch::StartsWith("manager 10.0.0.1:2377 " + digest + " "));
  discovery.tell({{"10.0.0.4:2377", Role::UNKNOWN, ""},
                  {"10.0.0.2:2377", Role::WORKER, digest},
                  {"10.0.0.3:2377", Role::MANAGER, digest},
                  {"10.0.0.5:2377", Role::MANAGER, std::string(64, '0')}},
                 f.scope());
  f.cluster.settle();
  CHECK(f.kernel.suggested == std::vector<std::string>{"10.0.0.3:2377", "10.0.0.4:2377"});
  // Nobody is left: what was known stays.
  discovery.tell({}, f.scope());
  f.cluster.settle();
  CHECK(f.kernel.suggested.size() == 2);
  // Its process has ended; the next one knows of nothing.
  KJ_ASSERT_NONNULL(discovery.watch)->reject(KJ_EXCEPTION(DISCONNECTED, "its process has ended"));
  f.cluster.advance(2 * kj::SECONDS);
  CHECK(discovery.announced.size() == 2);
}

TEST_CASE("discovery: joining asks it for managers of the token's cluster", "[manager]") {
  using Role = schema::DiscoveryEntry::Role;
  MemberFixture f("member-join");
  auto digest = std::string(64, 'a');
  auto join = [&]() {
    auto request = f.cluster.control.joinRequest();
    request.setToken("ORCHTKN-1-" + digest + "-secret");
    return attempt(request.send().ignoreResult()).promise();
  };
  auto without = join().wait(f.scope());
  REQUIRE(!without.ok());
  CHECK_THAT(without.message().cStr(), Catch::StartsWith("usage: name a manager"));
  TestDiscovery discovery;
  f.cluster.host.addService("discovery", discovery.client());
  SECTION("nobody is named") {
    auto joined = join();
    f.cluster.advance(20 * kj::SECONDS);
    auto failed = joined.wait(f.scope());
    REQUIRE(!failed.ok());
    CHECK_THAT(failed.message().cStr(),
               Catch::StartsWith("discovery names no manager of this cluster; 'orch discovery"));
  }
  SECTION("some are") {
    auto joined = join();
    f.cluster.settle();
    discovery.tell({{"10.0.0.1:2377", Role::MANAGER, digest},
                    {"10.0.0.2:2377", Role::WORKER, digest},
                    {"10.0.0.3:2377", Role::MANAGER, std::string(64, 'b')}},
                   f.scope());
    f.cluster.advance(1 * kj::SECONDS);
    CHECK(joined.wait(f.scope()).ok());
    CHECK(f.kernel.joinedAt == std::vector<std::string>{"10.0.0.1:2377"});
  }
}

}  // namespace
}  // namespace orch::control::manager
