// The state on its way from one store to another.
#include <catch2/catch.hpp>

#include <set>

#include "lead/state-copy.h"
#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

// Two hosts, each with a store of its own, and one that both reach.
struct MovingFixture {
  explicit MovingFixture(const char* name)
      : one(around, hosts, name, '1'), two(around, hosts, name, '2') {
    shared.share();
    serve();
  }
  void serve() {
    one.host.addService("store.local", around.store.client());
    two.host.addService("store.local", own.client());
    for (auto* host : {&one, &two}) host->host.addService("store.shared", shared.client());
  }
  void begin(std::vector<std::string> plugins = {"overlay"}) {
    one.start();
    around.settle();
    one.init();
    one.openAgent(std::move(plugins));
    around.settle();
  }
  // Empty: it has moved.
  std::string migrate(LeadHost& asked, const char* store = "store.shared") {
    auto request = asked.control.migrateRequest();
    request.setStore(store);
    auto moved = attempt(request.send()).wait(around.world.waitScope());
    around.settle();
    return moved.ok() ? std::string() : plainText(moved.error()).cStr();
  }
  std::string storeOf(LeadHost& asked) {
    auto info = asked.control.infoRequest().send().wait(around.world.waitScope());
    return info.getInfo().getStore().cStr();
  }
  std::string leaderIn(testing::MemoryStore& store) {
    StoreClient client(around.world.env(), store.client(), 1 * kj::SECONDS);
    return client.lead().wait(around.world.waitScope()).leader;
  }
  std::set<std::string> services(LeadHost& asked) {
    std::set<std::string> names;
    auto answer = asked.control.servicesRequest().send().wait(around.world.waitScope());
    for (auto row : answer.getServices()) names.insert(row.getName().cStr());
    return names;
  }

  TestCluster around;
  testing::MemoryStore own, shared;
  LeadHosts hosts;
  LeadHost one, two;
};

TEST_CASE("moving: where the state is says the leader, too, when the first store is silent",
          "[manager]") {
  bool silent = false;
  MovingFixture f("moving-silent");
  f.around.store.share();
  f.two.host.addService("store.local", kj::heap<OwnServer>(f.around.store.client(), silent));
  f.begin();
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.two.start();
  f.around.advance(1 * kj::SECONDS);
  f.two.openAgent();
  f.two.agent->drivers = {"store.local", "store.shared"};
  f.two.agent->open();
  f.around.advance(1 * kj::SECONDS);
  REQUIRE(f.migrate(f.one) == "");
  f.two.stop();
  silent = true;
  f.two.start();
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.two.leader() == f.one.id);
  f.one.cut();
  CHECK(f.two.create("web").empty());
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.storeOf(f.two) == "store.shared");
}

TEST_CASE("moving: the state goes on in another store, and the first one says where", "[manager]") {
  MovingFixture f("moving");
  f.begin();
  REQUIRE(f.one.create("before").empty());
  auto epoch = f.one.epoch();
  CHECK(f.storeOf(f.one) == "store.local");
  CHECK(f.migrate(f.one) == "");
  CHECK(f.storeOf(f.one) == "store.shared");
  CHECK(f.one.epoch() > epoch);
  CHECK(f.leaderIn(f.around.store) == "moved:store.shared");
  CHECK(f.leaderIn(f.shared) == f.one.id);
  CHECK(f.services(f.one) == std::set<std::string>{"before"});
  REQUIRE(f.one.create("after").empty());
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.one.agent->running() == 2);
  CHECK(f.migrate(f.one) == "");  // it is there already

  f.one.stop();
  f.one.start();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.storeOf(f.one) == "store.shared");
  CHECK(f.services(f.one) == std::set<std::string>{"after", "before"});
  // And back.
  f.one.openAgent();
  f.around.settle();
  CHECK(f.migrate(f.one, "store.local") == "");
  CHECK(f.leaderIn(f.shared) == "moved:store.local");
  REQUIRE(f.one.create("home").empty());
  f.one.stop();
  f.one.start();
  CHECK(f.services(f.one) == std::set<std::string>{"after", "before", "home"});
}

TEST_CASE("moving: changes that are asked for meanwhile wait, and are not lost", "[manager]") {
  MovingFixture f("moving-busy");
  f.begin();
  f.shared.setDisk(f.around.world.env().timer(), [] { return 5 * kj::MILLISECONDS; });
  for (auto name : {"a", "b", "c"}) REQUIRE(f.one.create(name).empty());
  auto request = f.one.control.migrateRequest();
  request.setStore("store.shared");
  auto moving = request.send();
  std::set<std::string> names{"a", "b", "c"};
  for (int i = 0; i < 20; ++i) {
    auto name = "more" + std::to_string(i);
    REQUIRE(f.one.create(name.c_str()).empty());
    names.insert(name);
    f.around.advance(1 * kj::MILLISECONDS);
  }
  moving.wait(f.around.world.waitScope());
  CHECK(f.storeOf(f.one) == "store.shared");
  CHECK(f.services(f.one) == names);
}

TEST_CASE("moving: a host that gives up joining while the state moves is no node", "[manager]") {
  MovingFixture f("moving-given-up");
  f.begin({"overlay", "store.local", "store.shared"});
  auto secret = f.one.secret();
  auto nodes = [&] {
    return f.one.control.nodesRequest().send().wait(f.around.world.waitScope()).getNodes().size();
  };
  REQUIRE(nodes() == 1);
  bool slow = true;
  f.shared.setDisk(f.around.world.env().timer(),
                   [&] { return slow ? 1 * kj::SECONDS : 0 * kj::SECONDS; });
  {
    auto asking = f.two.asks(f.one, secret.c_str());
    f.around.advance(1500 * kj::MILLISECONDS);
    REQUIRE_FALSE(asking.poll(f.around.world.waitScope()));
  }
  f.around.advance(20 * kj::SECONDS);
  CHECK(f.storeOf(f.one) == "store.shared");
  CHECK(nodes() == 1);
  // It asks again.
  slow = false;
  REQUIRE(f.two.join(f.one, secret.c_str()).empty());
  CHECK(nodes() == 2);
}

TEST_CASE("moving: whenever it is killed, the state is in one store, and whole", "[manager]") {
  size_t finished = 0, undone = 0;
  for (int64_t atMs = 0; atMs < 40; ++atMs) {
    INFO("killed after " << atMs << " ms");
    MovingFixture f("moving-killed");
    f.begin();
    REQUIRE(f.one.create("web").empty());
    auto slow = [] { return 2 * kj::MILLISECONDS; };
    f.shared.setDisk(f.around.world.env().timer(), slow);
    f.around.store.setDisk(f.around.world.env().timer(), slow);
    auto request = f.one.control.migrateRequest();
    request.setStore("store.shared");
    auto moving = attempt(request.send().ignoreResult()).promise().eagerlyEvaluate(nullptr);
    f.around.advance(atMs * kj::MILLISECONDS);
    f.around.store.crash();
    f.shared.crash();
    f.one.crash();
    f.serve();
    f.one.start();
    f.around.advance(2 * kj::SECONDS);
    CHECK(f.services(f.one) == std::set<std::string>{"web"});
    bool there = f.storeOf(f.one) == "store.shared";
    ++(there ? finished : undone);
    CHECK(f.leaderIn(f.around.store) == (there ? "moved:store.shared" : f.one.id));
    f.one.openAgent();
    f.around.settle();
    CHECK(f.migrate(f.one) == "");
    CHECK(f.services(f.one) == std::set<std::string>{"web"});
    f.one.stop();
  }
  CHECK(undone > 0);
  CHECK(finished > 0);
}

TEST_CASE("moving: back to where it has been, too, whenever it is killed", "[manager]") {
  size_t finished = 0, undone = 0;
  for (int64_t atMs = 0; atMs < 40; ++atMs) {
    INFO("killed after " << atMs << " ms");
    MovingFixture f("moving-back");
    f.begin();
    REQUIRE(f.one.create("web").empty());
    REQUIRE(f.migrate(f.one) == "");
    for (auto name : {"db", "more"}) REQUIRE(f.one.create(name).empty());
    auto slow = [] { return 2 * kj::MILLISECONDS; };
    f.shared.setDisk(f.around.world.env().timer(), slow);
    f.around.store.setDisk(f.around.world.env().timer(), slow);
    auto request = f.one.control.migrateRequest();
    request.setStore("store.local");
    auto moving = attempt(request.send().ignoreResult()).promise().eagerlyEvaluate(nullptr);
    f.around.advance(atMs * kj::MILLISECONDS);
    f.around.store.crash();
    f.shared.crash();
    f.one.crash();
    f.serve();
    f.one.start();
    f.around.advance(2 * kj::SECONDS);
    CHECK(f.services(f.one) == std::set<std::string>{"db", "more", "web"});
    ++(f.storeOf(f.one) == "store.local" ? finished : undone);
    f.one.openAgent();
    f.around.settle();
    CHECK(f.migrate(f.one, "store.local") == "");
    CHECK(f.services(f.one) == std::set<std::string>{"db", "more", "web"});
    f.one.stop();
    f.one.start();
    f.around.advance(1 * kj::SECONDS);
    CHECK(f.services(f.one) == std::set<std::string>{"db", "more", "web"});
    f.one.stop();
  }
  CHECK(undone > 0);
  CHECK(finished > 0);
}

TEST_CASE("moving: a store that has somebody else's state is let be", "[manager]") {
  MovingFixture f("moving-taken");
  StoreClient other(f.around.world.env(), f.shared.client(), 1 * kj::SECONDS);
  other.elect("somebody", 0).wait(f.around.world.waitScope());
  f.begin();
  CHECK_THAT(f.migrate(f.one), Catch::StartsWith("the store 'store.shared' has a state already"));
  CHECK(f.leaderIn(f.shared) == "somebody");
  CHECK_THAT(f.migrate(f.one, "etcd"), Catch::StartsWith("usage: --to names a store"));
  CHECK(f.storeOf(f.one) == "store.local");
  CHECK(f.one.create("web").empty());
  f.shared.disconnect();
  CHECK(f.migrate(f.one) != "");
  CHECK(f.one.create("again").empty());
}

TEST_CASE("moving: the state goes where other hosts reach it when one is to manage", "[manager]") {
  MovingFixture f("moving-shared");
  f.begin();
  REQUIRE(f.one.create("web").empty());
  auto addNode = [&](LeadHost& host, std::vector<std::string> plugins) {
    host.openAgent();
    host.agent->drivers = kj::mv(plugins);
    host.agent->open();
    f.around.settle();
  };
  auto promote = [&] {
    auto request = f.one.control.updateNodeRequest();
    request.setRequestId("promote");
    request.setId(f.two.id);
    request.initChange().initRole().setSet(schema::Node::Role::MANAGER);
    auto done = attempt(request.send()).wait(f.around.world.waitScope());
    f.around.settle();
    return done.ok() ? std::string() : plainText(done.error()).cStr();
  };
  addNode(f.one, {"store.local", "store.shared"});
  SECTION("as a worker that is promoted") {
    REQUIRE(f.two.join(f.one, f.one.secret(schema::Role::WORKER).c_str()).empty());
    f.two.dispatcher = f.one.dispatcher;
    SECTION("and has the store") {
      addNode(f.two, {"store.local", "store.shared"});
      CHECK(promote() == "");
      CHECK(f.storeOf(f.one) == "store.shared");
    }
    SECTION("and does not have it") {
      addNode(f.two, {"store.local"});
      CHECK_THAT(promote(), Catch::Contains("in a store that no other host reaches"));
      CHECK_THAT(promote(), Catch::Contains("with 'store.etcd' and 'config = { managed = true }'"));
      CHECK(f.storeOf(f.one) == "store.local");
    }
    SECTION("and there are two such stores") {
      testing::MemoryStore third;
      third.share();
      f.one.host.addService("store.third", third.client());
      addNode(f.one, {"store.local", "store.shared", "store.third"});
      addNode(f.two, {"store.local", "store.shared", "store.third"});
      CHECK_THAT(promote(),
                 Catch::EndsWith("say where to: 'orch cluster migrate --to store.shared' "
                                 "or 'orch cluster migrate --to store.third'"));
      CHECK(f.storeOf(f.one) == "store.local");
    }
  }
  SECTION("as one that joins so") {
    REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
    CHECK(f.storeOf(f.one) == "store.shared");
  }
  CHECK(f.services(f.one) == std::set<std::string>{"web"});
  f.one.stop();
}

TEST_CASE("moving: a store is named by its servers as well", "[manager]") {
  MovingFixture f("moving-uri");
  f.shared.share("etcd://10.0.0.1:2379,10.0.0.2:2379/lab");
  f.one.host.addService("store.etcd", f.own.client());
  f.one.host.addService("store.etcd#lab", f.shared.client());
  f.begin({"overlay", "store.local", "store.etcd", "store.etcd#lab"});
  REQUIRE(f.one.create("web").empty());
  auto refusal = f.migrate(f.one, "etcd://10.0.0.9/lab");
  CHECK_THAT(refusal, Catch::StartsWith("no store of this host's is at 'etcd://10.0.0.9/lab'; on "
                                        "each manager (host-"));
  CHECK_THAT(refusal, Catch::EndsWith("plugin = [{ id = \"store.etcd#2\", config = { endpoints = "
                                      "[\"http://10.0.0.9:2379\"], prefix = \"/lab/\" } }]"));
  CHECK_THAT(f.migrate(f.one, "consul://10.0.0.1"), Catch::Contains("id = \"store.consul\""));
  CHECK_THAT(f.migrate(f.one, "etcd://"), Catch::StartsWith("usage: --to has 'etcd://', which "));
  CHECK(f.storeOf(f.one) == "store.local");
  CHECK(f.migrate(f.one, "etcd://10.0.0.2/lab") == "");
  CHECK(f.storeOf(f.one) == "store.etcd#lab");
  CHECK(f.leaderIn(f.around.store) == "moved:store.etcd#lab");
  CHECK(f.migrate(f.one, "etcd://10.0.0.1:2379,10.0.0.2:2379/lab/") == "");  // it is there
  CHECK(f.services(f.one) == std::set<std::string>{"web"});
  auto status = f.one.control.statusRequest().send().wait(f.around.world.waitScope());
  CHECK(status.getStatus().getStore().getUri() == "etcd://10.0.0.1:2379,10.0.0.2:2379/lab");
}

TEST_CASE("moving: logins that were given before go with the state", "[manager]") {
  MovingFixture f("moving-logins");
  auto waits = [](auto&, auto&) { return schema::TaskState::NEW; };
  auto create = [&](const char* name) {
    auto request = f.one.control.createServiceRequest();
    request.setRequestId(name);
    auto spec = request.initSpec();
    spec.setName(name);
    spec.getMode().initReplicated();
    spec.initTask().initContainer().setImage("registry:5000/app:1");
    auto login = request.initLogin();
    login.setRegistry("registry:5000");
    login.setUser("ann");
    login.setPassword(name);
    request.send().wait(f.around.world.waitScope());
  };
  f.one.start();
  f.around.settle();
  create("alone");
  f.one.init();
  create("opened");
  REQUIRE(f.migrate(f.one) == "");
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.two.start();
  f.around.advance(1 * kj::SECONDS);
  f.one.cut();
  REQUIRE(f.two.create("after").empty());
  REQUIRE(f.two.leader() == f.two.id);
  f.two.openAgent();
  f.two.agent->onStart = waits;
  f.around.advance(1 * kj::SECONDS);
  std::set<std::string> logins;
  for (auto& [id, task] : f.two.agent->tasks) logins.insert(task.login);
  CHECK(logins.count("registry:5000 ann alone") == 1);
  CHECK(logins.count("registry:5000 ann opened") == 1);
  CHECK(f.two.lines("manager.login-lost") == 0);
}

TEST_CASE("moving: a manager that comes later finds the state where it is", "[manager]") {
  MovingFixture f("moving-second");
  f.begin();
  CHECK_THAT(f.two.join(f.one, f.one.secret().c_str()),
             Catch::StartsWith("this cluster's state is in a store that no other host reaches"));
  REQUIRE(f.migrate(f.one) == "");
  REQUIRE(f.one.create("web").empty());
  // It has been a cluster of its own.
  f.two.start();
  REQUIRE(f.two.create("alone").empty());
  f.two.stop();
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  for (int start = 0; start < 3; ++start) {
    f.two.start();
    f.around.advance(2 * kj::SECONDS);
    CHECK(f.two.leader() == f.one.id);
    CHECK(f.services(f.two) == std::set<std::string>{"web"});
    CHECK(f.leaderIn(f.own) == "moved:store.shared");
    // As soon as one that has been there for longer.
    if (start == 1) {
      f.one.cut();
      f.around.advance(1 * kj::SECONDS);
      CHECK(f.leaderIn(f.shared) == f.two.id);
      f.one.mend();
      f.two.stop();
      f.around.advance(10 * kj::SECONDS);
      CHECK(f.leaderIn(f.shared) == f.one.id);
    }
    if (start == 0) f.two.stop();
  }
  // What it is asked of the store, it asks the one where the state has gone.
  testing::MemoryStore third;
  third.share();
  for (auto* host : {&f.one, &f.two}) host->host.addService("store.third", third.client());
  for (auto* host : {&f.one, &f.two}) {
    host->openAgent();
    host->agent->drivers = {"store.local", "store.shared", "store.third"};
    host->agent->open();
  }
  f.around.settle();
  REQUIRE(f.migrate(f.one, "store.third") == "");
  f.around.advance(2 * kj::SECONDS);
  auto status = f.two.control.statusRequest().send().wait(f.around.world.waitScope());
  CHECK(status.getStatus().getStore().getName() == "store.third");
  REQUIRE(f.migrate(f.one) == "");
  // A store that it does not reach is none for the state.
  f.two.openAgent();
  f.around.settle();
  CHECK_THAT(f.migrate(f.one, "store.local"), Catch::Contains("would not reach the store"));
  f.one.cut();
  CHECK(f.two.create("more").empty());
  CHECK(f.two.leader() == f.two.id);
}

}  // namespace
}  // namespace orch::control::manager
