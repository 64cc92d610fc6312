// Several managers on one store: who leads, who follows, and what becomes of both.
#include <catch2/catch.hpp>

#include <filesystem>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

TEST_CASE("lead: a second manager follows, and hands on what it is asked", "[manager]") {
  LeadFixture f("lead-follows");
  f.together();
  CHECK(f.two.leader() == f.one.id);
  CHECK(f.two.create("web").empty());
  CHECK(f.one.create("web") == "service 'web' exists already; choose another name or update it");
  auto asked = f.two.control.nodeRequest();
  asked.setId("self");
  auto self = asked.send().wait(f.around.world.waitScope());
  CHECK(self.getNode().getMeta().getId() == f.two.id.c_str());
  CHECK(self.getNode().getRole() == schema::Node::Role::MANAGER);
  CHECK_FALSE(self.getNode().getLeader());
  // Both know of both, and have the authority.
  CHECK(f.two.kernel.managers == std::vector{f.one.address, f.two.address});
  CHECK(std::filesystem::exists(f.two.folder.sub("control.manager.authority").cStr()));
  auto info = f.two.control.infoRequest().send().wait(f.around.world.waitScope());
  CHECK(info.getInfo().getSelf().getNodeId() == f.two.id.c_str());
  // Its node's agent has a session with the leader.
  f.around.settle();
  CHECK(f.two.agent->running() == 1);
}

// How many tasks serve.
class ServingSink final : public schema::TaskSink::Server {
 public:
  explicit ServingSink(uint32_t& serving) : serving(serving) {}
  kj::Promise<void> update(UpdateContext context) override {
    if (context.getParams().getComplete()) serving = 0;
    for (auto entry : context.getParams().getTasks()) serving += entry.getServing();
    return kj::READY_NOW;
  }

 private:
  uint32_t& serving;
};

TEST_CASE("lead: who watches the cluster's tasks at a follower is told by the leader",
          "[manager]") {
  LeadFixture f("lead-feeds");
  f.together();
  uint32_t serving = 0;
  auto request = f.two.tasksFeed.watchRequest();
  request.setSink(kj::heap<ServingSink>(serving));
  auto watch = request.send().ignoreResult().eagerlyEvaluate(nullptr);
  REQUIRE(f.one.create("web").empty());
  f.around.settle();
  CHECK(serving == 1);
  // It is told so when that one leads no more, and then by the next.
  f.one.cut();
  f.around.advance(5 * kj::SECONDS);
  auto ended = attempt(kj::mv(watch)).wait(f.around.world.waitScope());
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().getType() == kj::Exception::Type::DISCONNECTED);
}

TEST_CASE("lead: when the leader is gone another one leads, with all that was acknowledged",
          "[manager]") {
  LeadFixture f("lead-gone");
  f.together();
  auto epoch = f.one.epoch();
  REQUIRE(f.one.create("before").empty());
  f.one.cut();
  REQUIRE(f.two.create("after").empty());  // waits for a leader
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.two.epoch() > epoch);
  CHECK(f.two.create("before") ==
        "service 'before' exists already; choose another name or update it");
  // The other one asks its store, and lets go of whom it led.
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.one.kernel.released == 1);
  CHECK(f.one.lines("manager.deposed") == 1);
  f.one.mend();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.one.leader() == f.two.id);
  CHECK(f.one.create("again").empty());
}

TEST_CASE("lead: the place of the leader that is gone is not waited for", "[manager]") {
  LeadFixture f("lead-turn");
  f.together();
  f.one.crash();
  f.one.cut();
  f.around.advance(300 * kj::MILLISECONDS);  // a beat in which it looks for another leader
  CHECK(f.two.lines("this manager leads the cluster") == 1);
}

// As the second manager says, of the first one's node.
std::string saidOfOne(LeadFixture& f) {
  auto request = f.two.control.nodeRequest();
  request.setId(f.one.id.c_str());
  auto response = request.send().wait(f.around.world.waitScope());
  auto node = response.getNode();
  static constexpr const char* SAID[] = {"unknown", "ready", "down"};
  std::string said = SAID[static_cast<size_t>(node.getState())];
  return node.getMessage().size() == 0 ? said : said + ": " + node.getMessage().cStr();
}

TEST_CASE("lead: the node of a leader that was lost is as any other that falls silent",
          "[manager]") {
  LeadFixture f("lead-former");
  f.together();
  f.one.openAgent();
  f.around.advance(1 * kj::SECONDS);
  REQUIRE(saidOfOne(f) == "ready");
  SECTION("it is down well before those that only have to find the new one") {
    f.one.crash();
    f.one.cut();
    f.around.advance(1 * kj::SECONDS);
    CHECK_THAT(saidOfOne(f), Catch::StartsWith("unknown"));
    f.around.advance(2 * kj::SECONDS);
    CHECK(saidOfOne(f) == "down: connection closed");
  }
  SECTION("if it was demoted it has time to start again") {
    auto request = f.two.control.updateNodeRequest();
    request.setRequestId("demote");
    request.setId(f.one.id.c_str());
    request.initChange().getRole().setSet(schema::Node::Role::WORKER);
    request.send().wait(f.around.world.waitScope());
    f.one.crash();
    f.one.cut();
    f.around.advance(5 * kj::SECONDS);
    REQUIRE(f.two.lines("this manager leads the cluster") == 1);
    CHECK_THAT(saidOfOne(f), Catch::StartsWith("unknown"));
  }
  SECTION("if it is well it has time to find the new one") {
    f.one.cut();
    f.around.advance(500 * kj::MILLISECONDS);
    REQUIRE(f.two.lines("this manager leads the cluster") == 1);
    f.one.mend();
    f.around.advance(1'200 * kj::MILLISECONDS);
    f.one.openAgent();
    f.around.advance(5 * kj::SECONDS);
    CHECK(saidOfOne(f) == "ready");
  }
}

TEST_CASE("lead: logins for registries are open to the next leader", "[manager]") {
  LeadFixture f("lead-logins");
  f.together();
  f.two.agent->onStart = [](auto&, auto&) { return schema::TaskState::NEW; };
  auto request = f.one.control.createServiceRequest();
  request.setRequestId("with-login");
  auto spec = request.initSpec();
  spec.setName("web");
  spec.getMode().initReplicated();
  spec.initTask().initContainer().setImage("registry:5000/app:1");
  auto login = request.initLogin();
  login.setRegistry("registry:5000");
  login.setUser("ann");
  login.setPassword("secret");
  request.send().wait(f.around.world.waitScope());
  f.around.settle();
  REQUIRE(f.two.agent->tasks.size() == 1);
  CHECK(f.two.agent->tasks.begin()->second.login == "registry:5000 ann secret");
  f.one.cut();
  REQUIRE(f.two.create("after").empty());
  f.two.openAgent();
  f.two.agent->onStart = [](auto&, auto&) { return schema::TaskState::NEW; };
  f.around.advance(1 * kj::SECONDS);
  REQUIRE(f.two.agent->tasks.size() == 2);
  for (auto& [id, task] : f.two.agent->tasks) {
    if (task.serviceName == "web") CHECK(task.login == "registry:5000 ann secret");
  }
}

TEST_CASE("lead: one that learns from its commit that another one leads answers nothing as done",
          "[manager]") {
  LeadFixture f("lead-deposed");
  f.together();
  f.one.cut();
  REQUIRE(f.two.create("two").empty());
  // Before it asks the store the next time.
  CHECK_THAT(f.one.create("one"), Catch::Contains("does not lead the cluster"));
  CHECK(f.two.create("one").empty());
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.one.kernel.released == 1);
}

TEST_CASE("lead: what the leader of before commits until it is deposed is there", "[manager]") {
  LeadFixture f("lead-until");
  f.together();
  SECTION("for one that followed") {}
  SECTION("for one that starts") {
    f.two.stop();
    f.around.store.holdElections(true);
    f.one.cut();
    f.two.start();
  }
  f.around.store.holdElections(true);
  f.one.cut();
  f.around.advance(5 * kj::SECONDS);
  REQUIRE(f.one.create("last").empty());
  f.around.store.holdElections(false);
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.two.leader() == f.two.id);
  CHECK_THAT(f.two.create("last"), Catch::StartsWith("service 'last' exists already"));
}

TEST_CASE("lead: a leader that starts again leads again, if nobody has taken it over",
          "[manager]") {
  LeadFixture f("lead-again");
  f.together();
  f.one.stop();
  f.one.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.two.leader() == f.one.leader());
  CHECK(f.two.create("web").empty());
}

TEST_CASE("lead: what is being committed when a leader lets go is answered as not known",
          "[manager]") {
  LeadFixture f("lead-underway");
  f.together();
  f.around.store.holdCommits(true);
  auto request = f.one.control.createServiceRequest();
  request.setRequestId("held");
  request.initSpec().setName("held");
  request.getSpec().initTask().initContainer().setImage("web");
  auto asked = attempt(request.send()).promise();
  f.around.advance(100 * kj::MILLISECONDS);
  f.one.cut();
  f.around.advance(4 * kj::SECONDS);
  auto made = asked.wait(f.around.world.waitScope());
  REQUIRE(!made.ok());
  CHECK_THAT(plainText(made.error()).cStr(),
             Catch::Contains("it is not known whether it was done"));
  f.around.store.holdCommits(false);
  // By the same request it can be asked for again.
  auto again = f.two.control.createServiceRequest();
  again.setRequestId("held");
  again.initSpec().setName("held");
  again.getSpec().initTask().initContainer().setImage("web");
  CHECK(again.send().wait(f.around.world.waitScope()).getService().getSpec().getName() == "held");
}

TEST_CASE("lead: without its store a leader lets go, and says why", "[manager]") {
  LeadFixture f("lead-store");
  f.together();
  f.around.store.disconnect();
  auto heardNs = f.around.world.env().nowNs();
  f.around.advance(4 * kj::SECONDS);
  CHECK(f.one.kernel.released == 1);
  CHECK_THAT(f.one.create("web"), Catch::Contains("the store 'store.local' cannot be used: "));
  // What it knew last can be read, and it says how old that is.
  CHECK(f.one.leader() == f.one.id);
  CHECK(f.one.control.nodesRequest().send().wait(f.around.world.waitScope()).getNodes().size() ==
        2);
  auto asOf = [&] {
    return f.one.control.ageRequest().send().wait(f.around.world.waitScope()).getAsOfNs();
  };
  CHECK(asOf() >= heardNs - 2'000'000'000);
  CHECK(asOf() <= heardNs);
  // By admins elsewhere, too, as long as it lasts.
  auto open = f.one.peers.at("admin").openRequest();
  open.initPeer().setRole(schema::Role::ADMIN);
  open.getPeer().setId("ann");
  auto admitted = attempt(open.send()).wait(f.around.world.waitScope());
  REQUIRE(!admitted.ok());  // there is none
  CHECK_THAT(admitted.message().cStr(), Catch::StartsWith("the admin 'ann'"));
  f.around.store.reconnect();
  f.around.advance(8 * kj::SECONDS);
  CHECK(f.one.kernel.released == 2);
  CHECK(f.one.create("web").empty());
  CHECK(asOf() == 0);
  CHECK(f.one.leader() == f.two.leader());
}

TEST_CASE("lead: a manager whose own server of the store is silent follows all the same",
          "[manager]") {
  bool silent = false;
  LeadFixture f("lead-silent");
  auto own = [&] { return kj::heap<OwnServer>(f.around.store.client(), silent); };
  SECTION("when it starts again") {
    f.two.host.addService("store.local", own());
    f.together();
    f.two.stop();
    silent = true;
    f.two.start();
    f.around.advance(2 * kj::SECONDS);
    CHECK(f.two.leader() == f.one.id);
    CHECK(f.two.create("web").empty());
    f.two.openAgent();
    f.around.settle();
    CHECK(f.two.agent->running() == 1);
    // It does not lead without its store.
    f.one.cut();
    f.around.advance(5 * kj::SECONDS);
    CHECK_THAT(f.two.create("late"), Catch::Contains("its server does not run"));
    silent = false;
    f.around.advance(5 * kj::SECONDS);
    CHECK(f.two.leader() == f.two.id);
    CHECK(f.two.create("late").empty());
  }
  SECTION("when it has led until then") {
    f.one.host.addService("store.local", own());
    f.together();
    silent = true;
    f.around.advance(10 * kj::SECONDS);
    CHECK(f.two.leader() == f.two.id);
    CHECK(f.one.leader() == f.two.id);
    CHECK(f.one.create("web").empty());
    f.one.openAgent();
    f.around.settle();
    CHECK(f.one.agent->drivers.size() == 1);
    silent = false;
    f.around.advance(5 * kj::SECONDS);
    CHECK(f.one.leader() == f.two.id);
    f.two.cut();
    CHECK(f.one.create("db").empty());
    CHECK(f.one.leader() == f.one.id);
  }
}

TEST_CASE("lead: a host that has not joined lets the state of others be", "[manager]") {
  LeadFixture f("lead-outsider");
  f.one.start();
  f.around.settle();
  SECTION("of a cluster that others can join") { f.one.init(); }
  SECTION("of one that they cannot yet") {}
  f.two.start();
  f.around.advance(10 * kj::SECONDS);
  CHECK_THAT(f.two.create("web"), Catch::Contains("that this host has not joined"));
  CHECK(f.one.create("web").empty());
  CHECK_FALSE(f.two.control.infoRequest()
                  .send()
                  .wait(f.around.world.waitScope())
                  .getInfo()
                  .getInitialized());
}

TEST_CASE("lead: of hosts that start at once on a new store one leads, until 'orch init' is said",
          "[manager]") {
  LeadFixture f("lead-first");
  f.one.start();
  f.two.start();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.around.store.epoch() == 1);
  f.two.init();
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.two.create("web").empty());
  CHECK(f.two.leader() == f.two.id);
  CHECK_THAT(f.one.create("other"), Catch::Contains("that this host has not joined"));
  // That cluster is others' now.
  auto again = f.one.control.initRequest();
  again.setRequestId("again");
  again.setAddress(f.one.address.c_str());
  auto refused = attempt(again.send()).wait(f.around.world.waitScope());
  REQUIRE(!refused.ok());
  CHECK_THAT(refused.message().cStr(), Catch::Contains("that this host has not joined"));
  CHECK(f.two.leader() == f.two.id);
}

TEST_CASE("lead: a member lets the state of another cluster be", "[manager]") {
  LeadFixture f("lead-foreign");
  f.one.start();
  f.around.settle();
  f.one.init();
  f.two.kernel.member = true;
  f.two.kernel.holder.role = schema::Role::MANAGER;
  f.two.kernel.cluster = std::string(64, 'f');
  f.two.kernel.address = f.two.address;
  f.one.stop();
  f.two.start();
  f.around.advance(10 * kj::SECONDS);
  CHECK_THAT(f.two.create("web"), Catch::Contains("has the state of another cluster"));
  f.one.start();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.one.create("web").empty());
}

TEST_CASE("lead: a member does not begin anew where there is no state", "[manager]") {
  LeadFixture f("lead-empty");
  f.two.kernel.member = true;
  f.two.kernel.holder.role = schema::Role::MANAGER;
  f.two.kernel.cluster = std::string(64, 'f');
  f.two.kernel.address = f.two.address;
  f.two.start();
  f.around.advance(20 * kj::SECONDS);
  CHECK_THAT(f.two.create("web"),
             Catch::Contains("has no state, though this node is in a cluster"));
  StoreClient client(f.around.world.env(), f.around.store.client(), 1 * kj::SECONDS);
  CHECK(client.lead().wait(f.around.world.waitScope()).leader.empty());
}

TEST_CASE("lead: with a store of its own a host is its cluster's only manager", "[manager]") {
  TestCluster around;
  LeadHosts hosts;
  LeadHost one(around, hosts, "lead-only", '1'), two(around, hosts, "lead-only", '2');
  one.start();
  one.init();
  CHECK_THAT(two.join(one, one.secret().c_str()),
             Catch::StartsWith("this cluster's state is in a store that no other host reaches"));
}

}  // namespace
}  // namespace orch::control::manager
