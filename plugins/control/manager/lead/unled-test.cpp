// What managers say of themselves, and what is left when nobody leads.
#include <catch2/catch.hpp>

#include "lead/test-lead-host.h"

namespace orch::control::manager {
namespace {

using Reach = schema::ManagerStatus::Reach;

auto statusOf(LeadFixture& f, LeadHost& asked) {
  return asked.control.statusRequest().send().wait(f.around.world.waitScope());
}
auto ageOf(LeadFixture& f, LeadHost& asked) {
  return asked.control.ageRequest().send().wait(f.around.world.waitScope());
}
std::string servicesOf(LeadFixture& f, LeadHost& asked) {
  auto answer = asked.control.servicesRequest().send().wait(f.around.world.waitScope());
  std::string names;
  for (auto row : answer.getServices()) names += std::string(row.getName().cStr()) + " ";
  return names;
}
schema::ManagerStatus::Reader managerOf(schema::ClusterStatus::Reader status,
                                        const std::string& id) {
  for (auto manager : status.getManagers()) {
    if (manager.getId() == id.c_str()) return manager;
  }
  FAIL("there is no manager " << id);
  return {};
}

TEST_CASE("status: of a leader and of a follower say the same of the cluster", "[manager]") {
  LeadFixture f("status");
  f.together();
  REQUIRE(f.one.create("web").empty());
  f.around.advance(1 * kj::SECONDS);
  auto first = statusOf(f, f.one), second = statusOf(f, f.two);
  CHECK(first.getStatus().getRole() == "leader");
  CHECK(second.getStatus().getRole() == "follower");
  for (auto status : {first.getStatus(), second.getStatus()}) {
    CHECK(status.getManagers().size() == 2);
    CHECK(managerOf(status, f.one.id).getReach() == Reach::LEADER);
    CHECK(managerOf(status, f.two.id).getReach() == Reach::REACHABLE);
    CHECK(managerOf(status, f.two.id).getBehindMs() >= 0);
    CHECK(managerOf(status, f.two.id).getBehindMs() <= 200);
    CHECK(managerOf(status, f.two.id).getAddress() == f.two.address.c_str());
    CHECK(status.getCanLose() == 1);
    CHECK(status.getEpoch() == f.one.epoch());
    CHECK(status.getLedSinceNs() > 0);
    CHECK(status.getAsOfNs() == 0);
    CHECK(status.getProblem() == "");
    CHECK(status.getObjects() > 3);
    CHECK(status.getBytes() > 1000);
    CHECK(status.getStore().getName() == "store.local");
    CHECK(status.getStore().getShared());
    CHECK(status.getStore().getLatencyUs() > 0);
    CHECK(status.getStore().getProblem() == "");
  }
}

TEST_CASE("status: a follower that is gone is unreachable, and cannot be lost once more",
          "[manager]") {
  LeadFixture f("status-gone");
  f.together();
  f.two.stop();
  f.around.advance(2 * kj::SECONDS);
  auto answer = statusOf(f, f.one);
  auto two = managerOf(answer.getStatus(), f.two.id);
  CHECK(two.getReach() == Reach::UNREACHABLE);
  CHECK_THAT(two.getReason().cStr(), Catch::StartsWith("it has not been heard of for "));
  CHECK(answer.getStatus().getCanLose() == 0);
}

TEST_CASE("status: a manager with another store than the leader's is told of, and does not lead",
          "[manager]") {
  LeadFixture f("status-elsewhere");
  testing::MemoryStore other;
  other.share();
  f.two.host.addService("store.local", other.client());
  f.together();
  f.around.advance(5 * kj::SECONDS);
  auto words = Catch::Contains("has no state, though this node is in a cluster");
  for (auto* asked : {&f.one, &f.two}) {
    auto answer = statusOf(f, *asked);
    auto two = managerOf(answer.getStatus(), f.two.id);
    CHECK(two.getReach() == Reach::REACHABLE);
    CHECK(two.getBehindMs() == -1);
    CHECK_THAT(two.getReason().cStr(), words);
    CHECK(answer.getStatus().getCanLose() == 0);
  }
  CHECK_THAT(statusOf(f, f.two).getStatus().getStore().getProblem().cStr(), words);
  f.one.cut();
  f.around.advance(20 * kj::SECONDS);
  CHECK_THAT(f.two.create("web"), words);
  CHECK_THAT(statusOf(f, f.two).getStatus().getProblem().cStr(), words);
}

TEST_CASE("status: what could not be saved is a problem of the store", "[manager]") {
  LeadFixture f("status-full");
  f.together();
  f.around.store.inject(testing::MemoryStore::Fault::REFUSE);
  CHECK(f.one.create("web") != "");
  CHECK_THAT(statusOf(f, f.one).getStatus().getStore().getProblem().cStr(),
             Catch::StartsWith("the last change could not be saved: "));
  REQUIRE(f.one.create("web").empty());
  CHECK(statusOf(f, f.one).getStatus().getStore().getProblem() == "");
}

TEST_CASE("unled: a follower can be read when nobody leads, and says how old that is",
          "[manager]") {
  LeadFixture f("unled");
  f.together();
  REQUIRE(f.one.create("web").empty());
  REQUIRE(f.two.create("db").empty());
  f.around.advance(1 * kj::SECONDS);
  CHECK(ageOf(f, f.two).getAsOfNs() == 0);
  f.around.store.disconnect();
  f.one.cut();
  f.around.advance(10 * kj::SECONDS);
  auto nowNs = f.around.world.env().nowNs();
  for (auto* host : {&f.one, &f.two}) {
    CHECK(servicesOf(f, *host) == "db web ");
    auto age = ageOf(f, *host);
    CHECK(age.getAsOfNs() <= nowNs - 5'000'000'000);
    CHECK(age.getAsOfNs() >= nowNs - 12'000'000'000);
    CHECK_THAT(age.getReason().cStr(), Catch::Contains("the store 'store.local' cannot be used: "));
    auto answer = statusOf(f, *host);
    CHECK(answer.getStatus().getRole() == "");
    CHECK(answer.getStatus().getLeader() == "");
    CHECK_THAT(answer.getStatus().getProblem().cStr(),
               Catch::Contains("the store 'store.local' cannot be used: "));
    CHECK(answer.getStatus().getAsOfNs() != 0);
    CHECK(answer.getStatus().getStore().getLatencyUs() == 0);
    CHECK(answer.getStatus().getStore().getProblem() != "");
    CHECK(managerOf(answer.getStatus(), host->id).getReach() == Reach::REACHABLE);
    CHECK_THAT(host->create("late"),
               Catch::StartsWith("no manager leads the cluster at the moment; tasks run on ("));
  }
  f.around.store.reconnect();
  f.one.mend();
  f.around.advance(10 * kj::SECONDS);
  CHECK(ageOf(f, f.two).getAsOfNs() == 0);
  CHECK(ageOf(f, f.one).getAsOfNs() == 0);
  CHECK(f.two.create("again").empty());
  CHECK(servicesOf(f, f.one) == "again db web ");
}

TEST_CASE("unled: an answer that is old says so, whatever was so just before it was asked for",
          "[manager]") {
  LeadFixture f("unled-stamp");
  f.together();
  REQUIRE(f.one.create("web").empty());
  f.around.advance(1 * kj::SECONDS);
  auto asOf = [&](LeadHost& host) {
    return host.control.servicesRequest().send().wait(f.around.world.waitScope()).getAsOfNs();
  };
  for (auto* host : {&f.one, &f.two}) {
    CHECK(ageOf(f, *host).getAsOfNs() == 0);
    CHECK(asOf(*host) == 0);
  }
  auto heardNs = f.around.world.env().nowNs();
  f.around.store.disconnect();
  f.one.cut();
  for (auto* host : {&f.one, &f.two}) {
    CHECK(asOf(*host) > heardNs - 2'000'000'000);
    CHECK(asOf(*host) <= heardNs);
  }
  auto nodes = f.one.control.nodesRequest().send().wait(f.around.world.waitScope());
  CHECK(nodes.getAsOfNs() != 0);
  CHECK(nodes.getNodes().size() == 2);
  auto asked = f.one.control.serviceRequest();
  asked.setId("no-such");
  auto missing = attempt(asked.send()).wait(f.around.world.waitScope());
  REQUIRE(!missing.ok());
  CHECK_THAT(missing.message().cStr(), Catch::Contains("no-such"));
}

TEST_CASE("unled: the copy has what was changed and removed, whatever its store loses of the feed",
          "[manager]") {
  LeadFixture f("unled-copy");
  f.together();
  for (auto name : {"a", "b", "c"}) REQUIRE(f.one.create(name).empty());
  f.around.store.dropFollowers();
  f.around.advance(1 * kj::SECONDS);
  auto removing = f.one.control.removeServiceRequest();
  removing.setRequestId("rm");
  removing.setId("b");
  removing.send().wait(f.around.world.waitScope());
  REQUIRE(f.two.create("d").empty());
  f.around.advance(5 * kj::SECONDS);
  CHECK(managerOf(statusOf(f, f.two).getStatus(), f.two.id).getBehindMs() <= 200);
  f.around.store.disconnect();
  f.one.cut();
  f.around.advance(5 * kj::SECONDS);
  CHECK(servicesOf(f, f.two) == "a c d ");
  auto tasks = f.two.control.tasksRequest().send().wait(f.around.world.waitScope());
  auto there = f.one.control.tasksRequest().send().wait(f.around.world.waitScope());
  REQUIRE(tasks.getTasks().size() == there.getTasks().size());
  for (uint32_t i = 0; i < tasks.getTasks().size(); ++i) {
    CHECK(tasks.getTasks()[i].getStatus().getState() == there.getTasks()[i].getStatus().getState());
    CHECK(tasks.getTasks()[i].getServiceName() == there.getTasks()[i].getServiceName());
  }
}

TEST_CASE("unled: a change of what the copy does not have is not taken", "[manager]") {
  LeadFixture f("unled-lacks");
  f.together();
  REQUIRE(f.one.create("web").empty());
  f.commitLacking();
  f.around.advance(1 * kj::SECONDS);
  CHECK(f.two.lines("manager.copy-failed") > 0);
  f.around.store.disconnect();
  f.one.cut();
  f.around.advance(5 * kj::SECONDS);
  CHECK(servicesOf(f, f.two) == "web ");
  auto tasks = f.two.control.tasksRequest().send().wait(f.around.world.waitScope());
  CHECK(tasks.getTasks().size() == 1);
}

TEST_CASE("unled: a manager that was started since knows nothing, and says why", "[manager]") {
  LeadFixture f("unled-new");
  f.together();
  f.two.stop();
  f.one.cut();
  f.two.start();
  f.around.store.disconnect();
  f.around.advance(5 * kj::SECONDS);
  auto asked = attempt(f.two.control.servicesRequest().send()).wait(f.around.world.waitScope());
  REQUIRE(!asked.ok());
  CHECK_THAT(asked.message().cStr(), Catch::Contains("the store 'store.local' cannot be used: "));
  auto answer = statusOf(f, f.two);
  CHECK(answer.getStatus().getAsOfNs() == 0);
  CHECK(answer.getStatus().getManagers().size() == 2);  // addresses, as the node knows them
  CHECK_THAT(answer.getStatus().getProblem().cStr(),
             Catch::Contains("the store 'store.local' cannot be used: "));
}

}  // namespace
}  // namespace orch::control::manager
