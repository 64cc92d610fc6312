// Who becomes a member, and who does not: tokens, and where managers are found.
#include <catch2/catch.hpp>

#include <set>

#include "member/membership.h"
#include "member/test-member.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::control::manager {
namespace {

TEST_CASE("init: one that is refused makes no cluster", "[manager]") {
  TestCluster cluster;
  cluster.autoInit = false;
  cluster.start();
  auto& scope = cluster.world.waitScope();
  auto why = [&](uint64_t certificateMs, bool autolock) {
    auto request = cluster.control.initRequest();
    request.setRequestId(cluster.world.env().newId());
    request.setCertificateMs(certificateMs);
    request.setAutolock(autolock);
    auto done = attempt(request.send()).wait(scope);
    auto info = cluster.control.infoRequest().send().wait(scope);
    CHECK_FALSE(info.getInfo().getInitialized());
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  CHECK_THAT(why(1, false), Catch::StartsWith("usage: --cert-expiry must be"));
  CHECK_THAT(why(0, true),
             Catch::StartsWith("usage: --autolock is for managers that others reach"));
}

TEST_CASE("join: a token, and an authority, that are replaced meanwhile let nobody in",
          "[manager]") {
  MemberFixture f("join-meanwhile");
  f.init();
  auto tokenRequest = [&](bool rotate) {
    auto request = f.cluster.control.joinTokenRequest();
    request.setRequestId(rotate ? "rotate" : "show");
    request.setRotate(rotate);
    return request;
  };
  std::string token = tokenRequest(false).send().wait(f.scope()).getToken().cStr();
  trust::Holder stranger;
  stranger.role = schema::Role::JOINER;
  auto joining = f.open("join", stranger).wait(f.scope()).castAs<schema::Join>().joinRequest();
  joining.setSecret(trust::parseToken(token).secret.c_str());
  joining.setRequest(trust::newKeyRequest().request.c_str());
  auto nodes = [&] {
    return f.cluster.control.nodesRequest().send().wait(f.scope()).getNodes().size();
  };
  auto before = nodes();
  // What is being committed nobody sees yet.
  f.cluster.store.setDisk(f.cluster.world.env().timer(), [] { return 20 * kj::MILLISECONDS; });
  kj::Promise<void> replacing = nullptr;
  SECTION("the token") { replacing = tokenRequest(true).send().ignoreResult(); }
  SECTION("the authority") {
    auto request = f.cluster.control.rotateAuthorityRequest();
    request.setRequestId("rotate");
    replacing = request.send().ignoreResult();
  }
  f.cluster.advance(5 * kj::MILLISECONDS);
  auto joined = attempt(joining.send()).promise();
  replacing.wait(f.scope());
  auto outcome = joined.wait(f.scope());
  REQUIRE_FALSE(outcome.ok());
  CHECK_THAT(outcome.message().cStr(), Catch::EndsWith("is being replaced; ask again"));
  CHECK(nodes() == before);
}

TEST_CASE("join: a host that does not wait for its certificate is no node", "[manager]") {
  MemberFixture f("join-gone");
  f.init();
  auto token = f.cluster.control.joinTokenRequest().send().wait(f.scope());
  auto secret = trust::parseToken(token.getToken().cStr()).secret;
  trust::Holder stranger;
  stranger.role = schema::Role::JOINER;
  auto ask = [&] {
    auto request = f.open("join", stranger).wait(f.scope()).castAs<schema::Join>().joinRequest();
    request.setSecret(secret.c_str());
    request.setRequest(trust::newKeyRequest().request.c_str());
    return request.send();
  };
  auto nodes = [&] {
    return f.cluster.control.nodesRequest().send().wait(f.scope()).getNodes().size();
  };
  auto before = nodes();
  f.cluster.store.setDisk(f.cluster.world.env().timer(), [] { return 20 * kj::MILLISECONDS; });
  SECTION("it has gone before that was decided") {
    auto request = f.cluster.control.joinTokenRequest();
    request.setRequestId("rotate");
    request.setRole(schema::Role::MANAGER);
    request.setRotate(true);
    auto other = request.send();
    f.cluster.advance(5 * kj::MILLISECONDS);
    {
      auto asking = ask();
      f.cluster.advance(5 * kj::MILLISECONDS);
    }
    other.wait(f.scope());
    f.cluster.advance(1 * kj::SECONDS);
    CHECK(f.lines("a node has joined") == 0);
  }
  SECTION("it has gone while that was written") {
    {
      auto asking = ask();
      f.cluster.advance(5 * kj::MILLISECONDS);
    }
    f.cluster.advance(1 * kj::SECONDS);
    CHECK(f.lines("a node has joined") == 1);
    CHECK(f.lines("it is no node") == 1);
  }
  CHECK(nodes() == before);
  ask().wait(f.scope());
  CHECK(nodes() == before + 1);
}

TEST_CASE("join: a host that has not come with its certificate within a day is no node",
          "[manager]") {
  MemberFixture f("join-absent");
  f.init();
  auto token = f.cluster.control.joinTokenRequest().send().wait(f.scope());
  auto secret = trust::parseToken(token.getToken().cStr()).secret;
  auto join = [&] {
    trust::Holder stranger;
    stranger.role = schema::Role::JOINER;
    auto request = f.open("join", stranger).wait(f.scope()).castAs<schema::Join>().joinRequest();
    request.setSecret(secret.c_str());
    request.setRequest(trust::newKeyRequest().request.c_str());
    return std::string(request.send().wait(f.scope()).getNodeId().cStr());
  };
  auto ids = [&] {
    std::set<std::string> found;
    auto answer = f.cluster.control.nodesRequest().send().wait(f.scope());
    for (auto node : answer.getNodes()) found.insert(node.getMeta().getId().cStr());
    return found;
  };
  auto before = ids();
  auto absent = join(), described = join(), manages = join();
  auto all = ids();
  REQUIRE(all.size() == before.size() + 3);
  f.cluster.addNode(described).open();
  f.cluster.settle();
  // One without an agent.
  trust::Holder holder;
  holder.role = schema::Role::WORKER;
  holder.id = manages;
  auto waits =
      f.open("renewal", holder).wait(f.scope()).castAs<schema::Renewal>().awaitRoleRequest();
  waits.setCurrent(schema::Role::WORKER);
  auto waiting = waits.send();
  f.cluster.advance(23 * kj::HOURS);
  CHECK(ids() == all);
  f.cluster.advance(2 * kj::HOURS);
  all.erase(absent);
  CHECK(ids() == all);
}

TEST_CASE("renewal: strangers, and a node that cannot get enough, hold up no other node",
          "[manager]") {
  MemberFixture f("renewal-many");
  f.init();
  for (auto name : {"node1", "node2"}) f.cluster.addNode(name).open();
  f.cluster.settle();
  trust::Holder stranger;
  stranger.role = schema::Role::JOINER;
  auto joining = f.open("join", stranger).wait(f.scope()).castAs<schema::Join>();
  auto csr = trust::newKeyRequest().request;
  auto join = [&](const std::string& secret) {
    auto request = joining.joinRequest();
    request.setSecret(secret.c_str());
    request.setRequest(csr.c_str());
    return f.errorOf([&] { request.send().wait(f.scope()); });
  };
  for (uint32_t i = 0; i < Membership::GUESSES_AT_ONCE; ++i) {
    CHECK_THAT(join("guessed"), Catch::StartsWith("the token is not valid"));
  }
  CHECK_THAT(join("guessed"), Catch::StartsWith("too many tokens were tried"));
  auto token = f.cluster.control.joinTokenRequest().send().wait(f.scope());
  auto secret = trust::parseToken(token.getToken().cStr()).secret;
  for (uint32_t i = 0; i < Membership::JOINS_AT_ONCE; ++i) CHECK(join(secret) == "");
  CHECK_THAT(join(secret), Catch::StartsWith("too many hosts are joining"));
  auto renew = [&](const char* id) {
    trust::Holder node;
    node.role = schema::Role::WORKER;
    node.id = id;
    auto request = f.open("renewal", node).wait(f.scope()).castAs<schema::Renewal>().renewRequest();
    request.setRequest(csr.c_str());
    return f.errorOf([&] { request.send().wait(f.scope()); });
  };
  for (uint32_t i = 0; i < Membership::RENEWALS_AT_ONCE; ++i) CHECK(renew("node1") == "");
  CHECK_THAT(renew("node1"), Catch::StartsWith("it asks for too many certificates"));
  CHECK(renew("node2") == "");
  f.cluster.advance(2 * kj::SECONDS);
  CHECK(renew("node1") == "");
}

TEST_CASE("join: whoever reads the cluster's state has no token of it", "[manager]") {
  MemberFixture f("join-secret");
  f.init();
  auto secretOf = [&](schema::Role role) {
    auto request = f.cluster.control.joinTokenRequest();
    request.setRole(role);
    return trust::parseToken(request.send().wait(f.scope()).getToken().cStr()).secret;
  };
  auto worker = secretOf(schema::Role::WORKER), manager = secretOf(schema::Role::MANAGER);
  CHECK(worker.size() == 32);
  CHECK(worker != manager);
  CHECK(f.cluster.store.allValues().find(worker) == std::string::npos);
  CHECK(f.cluster.store.allValues().find(manager) == std::string::npos);
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
  // None of this cluster, as this node calls it: perhaps it has another authority by now.
  discovery.tell({{"10.0.0.5:2377", Role::MANAGER, std::string(64, '0')}}, f.scope());
  f.cluster.settle();
  CHECK(f.kernel.suggested == std::vector<std::string>{"10.0.0.5:2377"});
  discovery.tell({{"10.0.0.3:2377", Role::MANAGER, digest}, {"10.0.0.4:2377", Role::UNKNOWN, ""}},
                 f.scope());
  f.cluster.settle();
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
