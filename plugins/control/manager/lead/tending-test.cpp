// A store that runs its servers itself: they are where the managers are.
#include <catch2/catch.hpp>

#include <map>
#include <set>

#include "lead/test-lead-host.h"
#include "orch/hand-on.h"

namespace orch::control::manager {
namespace {

// All servers of one store. What each host's plugin knows of them is never old.
struct ServersModel {
  ServersModel() { store.share(); }
  testing::MemoryStore store;
  std::map<std::string, bool> members;  // by node: whether it votes
  std::set<std::string> leftovers;      // nodes that have one of others, which have ended
  uint32_t founded = 0, admitted = 0;
  bool stays = false;  // whoever is to leave
  std::string trouble, waitsFor;
};

// Of one host's plugin. `id`: of its node, now.
class ModelServers final : public schema::StoreServers::Server {
 public:
  ModelServers(ServersModel& model, const std::string& id) : model(model), id(id) {}
  kj::Promise<void> state(StateContext context) override {
    auto results = context.getResults();
    bool leftover = model.leftovers.count(id) > 0;
    results.setPresent(leftover || model.members.count(id) > 0);
    results.setOf(leftover ? "those of before" : "these");
    results.setTrouble(model.trouble.c_str());
    auto list = results.initServers(model.members.size());
    uint32_t i = 0;
    for (auto& [node, votes] : model.members) {
      list[i].setNodeId(node.c_str());
      list[i++].setVotes(votes);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> found(FoundContext context) override {
    CHECK(context.getParams().getHost().getNodeId() == id.c_str());
    CHECK(context.getParams().getHost().getAddress().size() > 0);
    if (model.members.empty()) ++model.founded;
    model.members.try_emplace(id, true);
    return kj::READY_NOW;
  }
  kj::Promise<void> settle(SettleContext) override { return kj::READY_NOW; }
  kj::Promise<void> leave(LeaveContext) override {
    if (model.stays) fail(kj::str("its disk is full"));
    model.members.erase(id);
    return kj::READY_NOW;
  }
  kj::Promise<void> tend(TendContext context) override {
    requireEpoch(context.getParams().getEpoch());
    std::map<std::string, bool> wanted;
    for (auto host : context.getParams().getHosts()) wanted[host.getNodeId().cStr()] = true;
    std::erase_if(model.members, [&](auto& member) {
      return member.first != id && wanted.count(member.first) == 0;
    });
    for (auto& member : model.members) member.second = true;
    context.getResults().setSettled(true);
    context.getResults().setWaitsFor(model.waitsFor.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> admit(AdmitContext context) override {
    requireEpoch(context.getParams().getEpoch());
    ++model.admitted;
    auto host = context.getParams().getHost();
    context.getResults().setInvitation(host.getNodeId().asBytes());
    return kj::READY_NOW;
  }
  kj::Promise<void> join(JoinContext context) override {
    auto invitation = context.getParams().getInvitation().asChars();
    CHECK(std::string(invitation.begin(), invitation.size()) == id);
    model.leftovers.erase(id);
    model.members[id] = false;
    return kj::READY_NOW;
  }

 private:
  void requireEpoch(uint64_t epoch) const {
    if (epoch != model.store.epoch()) fail(kj::str("another manager leads"));
  }
  ServersModel& model;
  const std::string& id;
};

// Answers where its host's server votes.
class ModelStore final : public schema::Store::Server {
 public:
  ModelStore(ServersModel& model, const std::string& id) : model(model), id(id) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    constexpr uint16_t LIMITS = 0, SERVERS = 6;
    if (methodId == SERVERS) {
      return schema::Store::Server::dispatchCall(interfaceId, methodId, call);
    }
    auto member = model.members.find(id);
    bool answers = member != model.members.end() && member->second;
    if (!answers && methodId != LIMITS) fail(kj::str("no server of the store votes here"));
    return {handOn(model.store.client(), interfaceId, methodId, call), false};
  }
  kj::Promise<void> servers(ServersContext context) override {
    context.getResults().setServers(kj::heap<ModelServers>(model, id));
    return kj::READY_NOW;
  }

 private:
  ServersModel& model;
  const std::string& id;
};

struct TendingFixture {
  explicit TendingFixture(const char* name)
      : one(around, hosts, name, '1'), two(around, hosts, name, '2') {
    one.host.addService("store.local", around.store.client());
    two.host.addService("store.local", own.client());
    for (auto* host : {&one, &two}) {
      host->host.addService("store.managed", kj::heap<ModelStore>(model, host->id));
    }
  }
  // One leads, and has moved the state.
  void begin() {
    one.start();
    around.settle();
    one.init();
    one.openAgent();
    around.settle();
    auto request = one.control.migrateRequest();
    request.setStore("store.managed");
    request.send().wait(around.world.waitScope());
    around.settle();
  }
  void together() {
    begin();
    two.start();  // it has been a cluster of its own
    around.settle();
    two.stop();
    REQUIRE(two.join(one, one.secret().c_str()).empty());
    two.start();
    around.advance(3 * kj::SECONDS);
    two.openAgent();
    around.advance(1 * kj::SECONDS);
  }
  std::map<std::string, bool> voters(std::initializer_list<LeadHost*> of) const {
    std::map<std::string, bool> all;
    for (auto* host : of) all[host->id] = true;
    return all;
  }

  TestCluster around;
  testing::MemoryStore own;
  ServersModel model;
  LeadHosts hosts;
  LeadHost one, two;
};

TEST_CASE("tending: the first server is made when the state moves there", "[manager]") {
  TendingFixture f("tending-first");
  f.begin();
  CHECK(f.model.founded == 1);
  CHECK(f.model.members == f.voters({&f.one}));
  CHECK(f.one.create("web").empty());
  f.one.stop();
  f.one.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.one.leader() == f.one.id);
  CHECK(f.one.create("again").empty());
  CHECK(f.model.founded == 1);
}

TEST_CASE("tending: what is wrong with a server is a problem of the store", "[manager]") {
  TendingFixture f("tending-trouble");
  f.begin();
  auto problem = [&] {
    auto answer = f.one.control.statusRequest().send().wait(f.around.world.waitScope());
    return std::string(answer.getStatus().getStore().getProblem().cStr());
  };
  CHECK(problem() == "");
  f.model.waitsFor = "another member is not there yet";
  f.around.advance(2 * kj::SECONDS);
  CHECK(problem() == "another member is not there yet");
  f.model.trouble = "its disk is nearly full";
  CHECK(problem() == "its disk is nearly full");
  f.model.trouble = f.model.waitsFor = "";
  f.around.advance(2 * kj::SECONDS);
  CHECK(problem() == "");
  CHECK(f.one.create("web").empty());
}

TEST_CASE("tending: a manager that comes gets a server, and may lead", "[manager]") {
  TendingFixture f("tending-second");
  f.together();
  CHECK(f.two.leader() == f.one.id);
  CHECK(f.model.members == f.voters({&f.one, &f.two}));
  CHECK(f.model.admitted == 1);
  f.one.cut();
  REQUIRE(f.two.create("after").empty());
  CHECK(f.two.leader() == f.two.id);
  f.one.mend();
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.one.leader() == f.two.id);
  CHECK(f.model.members == f.voters({&f.one, &f.two}));
}

TEST_CASE("tending: the cluster's status has in it what its servers survive, and their trouble",
          "[manager]") {
  TendingFixture f("tending-status");
  f.together();
  auto says = [&](LeadHost& asked) {
    return asked.control.statusRequest().send().wait(f.around.world.waitScope());
  };
  for (auto* host : {&f.one, &f.two}) {
    auto answer = says(*host);
    CHECK(answer.getStatus().getManagers().size() == 2);
    CHECK(answer.getStatus().getCanLose() == 0);
    CHECK(answer.getStatus().getStore().getProblem() == "");
  }
  // As with a third one, on a host that nobody has heard of.
  f.model.members["elsewhere"] = true;
  auto lost = says(f.one);
  CHECK(lost.getStatus().getCanLose() == 0);
  f.model.trouble = "the disk is slow";
  auto slow = says(f.two);
  CHECK(slow.getStatus().getStore().getProblem() == "the disk is slow");
  f.around.advance(2 * kj::SECONDS);
  f.model.members.erase(f.two.id);
  auto silent = says(f.two);
  CHECK_THAT(silent.getStatus().getStore().getProblem().cStr(),
             Catch::Contains("no server of the store votes here; the disk is slow"));
}

TEST_CASE("tending: one that is no manager any more has its server removed", "[manager]") {
  TendingFixture f("tending-demoted");
  f.together();
  auto request = f.one.control.updateNodeRequest();
  request.setRequestId("demote");
  request.setId(f.two.id.c_str());
  request.initChange().getRole().setSet(schema::Node::Role::WORKER);
  request.send().wait(f.around.world.waitScope());
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.model.members == f.voters({&f.one}));
}

TEST_CASE("tending: a manager whose server is gone gets another one", "[manager]") {
  TendingFixture f("tending-lost");
  f.together();
  // While it follows.
  f.model.members.erase(f.two.id);
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.model.members == f.voters({&f.one, &f.two}));
  // While it was off: its own store says that the state is where there is no server.
  f.two.stop();
  f.model.members.erase(f.two.id);
  f.two.start();
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.two.leader() == f.one.id);
  CHECK(f.model.members == f.voters({&f.one, &f.two}));
  CHECK(f.model.admitted == 3);
}

TEST_CASE("tending: one that has a server of an earlier time gets one of those that there are",
          "[manager]") {
  TendingFixture f("tending-leftover");
  f.together();
  f.two.stop();
  f.model.members.erase(f.two.id);
  f.model.leftovers.insert(f.two.id);
  f.two.start();
  f.around.advance(15 * kj::SECONDS);
  CHECK(f.two.leader() == f.one.id);
  CHECK(f.model.members == f.voters({&f.one, &f.two}));
  CHECK(f.model.admitted == 2);
}

TEST_CASE("tending: one that goes on alone has no server any more that others could count on",
          "[manager]") {
  TendingFixture f("tending-alone");
  f.together();
  f.two.openAgent({"store.local", "store.managed"});
  REQUIRE(f.one.create("web").empty());
  f.around.advance(1 * kj::SECONDS);
  f.one.stop();
  for (auto& member : f.model.members) member.second = false;  // they are too few
  f.around.advance(10 * kj::SECONDS);
  f.model.stays = GENERATE(false, true);
  auto request = f.two.control.forceNewRequest();
  request.setRequestId("force");
  CHECK(request.send().wait(f.around.world.waitScope()).getStore() == "store.local");
  CHECK(f.model.members.count(f.two.id) == f.model.stays);
  // At the latest with the next start.
  f.model.stays = false;
  f.two.stop();
  f.two.start();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.model.members.count(f.two.id) == 0);
  CHECK(f.model.members.count(f.one.id) == 1);
  CHECK(f.two.create("more").empty());
  // One that it has later stays.
  ServersModel another;
  f.two.host.addService("store.managed", kj::heap<ModelStore>(another, f.two.id));
  auto moving = f.two.control.migrateRequest();
  moving.setStore("store.managed");
  moving.send().wait(f.around.world.waitScope());
  f.two.stop();
  f.two.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK(another.members == f.voters({&f.two}));
  CHECK(f.two.create("there").empty());
}

TEST_CASE("tending: one that leaves the cluster has no server any more", "[manager]") {
  TendingFixture f("tending-leaves");
  f.together();
  bool locked = GENERATE(false, true);
  if (locked) {
    f.two.stop();
    f.two.kernel.locked = true;
    f.two.start();
  }
  auto request = f.two.control.leaveRequest();
  request.setForce(true);
  request.send().wait(f.around.world.waitScope());
  f.around.advance(3 * kj::SECONDS);
  CHECK(f.model.members == f.voters({&f.one}));
  CHECK_FALSE(f.two.kernel.member);
  CHECK(f.one.create("web").empty());
  // It may be one of its own again, as for a backup.
  f.two.stop();
  f.two.start();
  f.around.settle();
  CHECK(f.two.create("own").empty());
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.one.leader() == f.one.id);
  f.two.stop();
  f.two.start();
  f.around.settle();
  CHECK(f.two.create("more").empty());
}

}  // namespace
}  // namespace orch::control::manager
