// What tasks and nodes use.
#include "serve/usage.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using UsageOutcome = orch::Outcome<capnp::Response<schema::ClusterControl::UsageResults>>;

struct UsageFixture : FourOnTwo {
  Task<UsageOutcome> asking(std::initializer_list<kj::StringPtr> ids, bool nodes = false) {
    auto request = cluster.control.usageRequest();
    auto list = request.initIds(ids.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, ids.begin()[i]);
    request.setNodes(nodes);
    return attempt(request.send());
  }
  UsageOutcome ask(std::initializer_list<kj::StringPtr> ids, bool nodes = false) {
    return asking(ids, nodes).wait(cluster.world.waitScope());
  }
  // `web.1=7`, or what is missing.
  std::vector<std::string> rows(UsageOutcome& outcome) {
    std::vector<std::string> all;
    for (auto row : outcome.value().getTasks()) {
      auto what = row.getMissing().size() > 0 ? kj::str(row.getMissing())
                                              : kj::str(row.getUsage().getCpuNs());
      all.push_back(kj::str(row.getTask(), "=", what).cStr());
    }
    return all;
  }
};

}  // namespace

TEST_CASE("usage: a node that was not heard of for a while answers again", "[manager]") {
  UsageFixture fixture;
  auto usual = std::vector<std::string>{"web.1=7", "web.2=7", "web.3=7", "web.4=7"};
  auto before = fixture.ask({"web"});
  CHECK(fixture.rows(before) == usual);
  fixture.one.beats = fixture.two.beats = false;
  fixture.cluster.advance(4 * kj::SECONDS);
  auto meanwhile = fixture.ask({"web"});
  CHECK(fixture.rows(meanwhile)[0] != "web.1=7");
  fixture.one.beats = fixture.two.beats = true;
  fixture.cluster.advance(4 * kj::SECONDS);
  auto after = fixture.ask({"web"});
  CHECK(fixture.rows(after) == usual);
}

TEST_CASE("usage: each node with such tasks is asked once, for all of them", "[manager]") {
  UsageFixture fixture;
  fixture.cluster.create({"db", 2});
  fixture.cluster.settle();
  CHECK(fixture.one.measured.empty());
  auto all = fixture.ask({});
  CHECK(fixture.rows(all) ==
        std::vector<std::string>{"db.1=7", "db.2=7", "web.1=7", "web.2=7", "web.3=7", "web.4=7"});
  CHECK(fixture.one.measured.size() == 1);
  CHECK(fixture.two.measured.size() == 1);
  CHECK(all.value().getNodes().size() == 0);
  auto some = fixture.ask({"db", "web.2", "web.2"});
  CHECK(fixture.rows(some) == std::vector<std::string>{"db.1=7", "db.2=7", "web.2=7"});
  auto single = fixture.ask({"web.1"});
  auto node = std::string(single.value().getTasks()[0].getNode().cStr());
  CHECK(node.compare(0, 9, "host-node") == 0);
  CHECK(fixture.one.measured.size() + fixture.two.measured.size() == 5);
  CHECK(fixture.ask({"nobody"}).message() == "no service and no task 'nobody'; see 'orch task ls'");
}

TEST_CASE("usage: nodes say what they have, what is reserved and what is used", "[manager]") {
  UsageFixture fixture;
  Spec reserves{"db", 1};
  reserves.more = [](schema::ServiceSpec::Builder spec) {
    auto resources = spec.getTask().initResources();
    resources.setReserveCpuNanos(500'000'000);
    resources.setReserveMemoryBytes(8 << 20);
  };
  fixture.cluster.create(reserves);
  fixture.cluster.settle();
  fixture.two.silent = true;
  auto asking = fixture.asking({}, true);
  fixture.cluster.advance(UsageQueries::PATIENCE);
  auto answer = kj::mv(asking).wait(fixture.cluster.world.waitScope());
  REQUIRE(answer.ok());
  std::vector<std::string> names;
  uint64_t cpu = 0, memory = 0, tasks = 0, silent = 0;
  for (auto node : answer.value().getNodes()) {
    cpu += node.getReservedCpuNanos();
    memory += node.getReservedMemoryBytes();
    tasks += node.getTasks();
    names.push_back(node.getNode().cStr());
    CHECK(node.getCpuNanos() > 0);
    if (node.getNode() == "host-node1") CHECK(node.getHost().getCpuNs() == 9);
    if (node.getNode() != "host-node2") continue;
    ++silent;
    CHECK(node.getMissing() == "node 'host-node2' has not answered within 2 s");
  }
  CHECK(std::is_sorted(names.begin(), names.end()));
  CHECK(silent == 1);
  CHECK(cpu == 500'000'000);
  CHECK(memory == 8 << 20);
  CHECK(tasks == 5);
}

TEST_CASE("usage: of a node that does not answer that is said, in time", "[manager]") {
  UsageFixture fixture;
  std::map<std::string, bool> placed;  // on node1
  auto tasks = fixture.cluster.tasks("web");
  for (auto task : tasks.getTasks()) {
    placed[kj::str("web.", task.getSlot()).cStr()] =
        fixture.one.tasks.count(task.getMeta().getId().cStr()) > 0;
  }
  auto rowsOf = [&](const std::string& why) {
    std::vector<std::string> all;
    for (auto& [name, here] : placed) all.push_back(name + "=" + (here ? "7" : why));
    return all;
  };
  auto asking = [&] {
    auto call = fixture.asking({"web"});
    fixture.cluster.advance(UsageQueries::PATIENCE);
    return kj::mv(call).wait(fixture.cluster.world.waitScope());
  };
  fixture.two.silent = true;
  auto slow = asking();
  REQUIRE(slow.ok());
  CHECK(fixture.rows(slow) == rowsOf("node 'host-node2' has not answered within 2 s"));
  SECTION("its session is over meanwhile") {
    auto call = fixture.asking({"web"});
    fixture.cluster.advance(100 * kj::MILLISECONDS);
    fixture.two.cut();
    fixture.cluster.advance(1 * kj::SECONDS);
    auto lost = kj::mv(call).wait(fixture.cluster.world.waitScope());
    REQUIRE(lost.ok());
    CHECK(fixture.rows(lost) == rowsOf("node 'host-node2' was lost before it answered"));
  }
  SECTION("it is down, and its tasks are replaced") {
    SECTION("its session is over") { fixture.two.cut(); }
    SECTION("nobody has ended its session") { fixture.two.beats = false; }
    fixture.cluster.advance(20 * kj::SECONDS);
    auto moved = asking();
    REQUIRE(moved.ok());
    CHECK(fixture.rows(moved) ==
          std::vector<std::string>{"web.1=7", "web.2=7", "web.3=7", "web.4=7"});
    auto nodes = fixture.ask({}, true);
    REQUIRE(nodes.value().getNodes().size() > 1);
    for (auto node : nodes.value().getNodes()) {
      if (node.getNode() != "host-node2") continue;
      CHECK(node.getMissing() == "node 'host-node2' is down");
    }
  }
}

}  // namespace orch::control::manager
