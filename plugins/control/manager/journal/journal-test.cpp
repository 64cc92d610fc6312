// What is decided is written down, and comes out the same when it is decided once more.
#include "journal/journal.h"

#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include <random>
#include <set>

#include "journal/journal-reader.h"
#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

struct JournalCluster : TestCluster {
  explicit JournalCluster(uint64_t seed = testing::testSeed(), kj::StringPtr data = "/nowhere/data")
      : TestCluster(1000, seed, data),
        folder(kj::Path(nullptr).eval(kj::str(data, "/control.manager/journal"))),
        packingHost("/nowhere/data", "/nowhere/run", "scheduler.binpack"),
        packing(loadModule(world.env(), "scheduler.binpack")) {
    auto request = packing.configureRequest();
    request.setHost(packingHost.client());
    request.send().wait(world.waitScope());
    host.addService("scheduler.binpack", packingHost.start<schema::Scheduler>(
                                             packing, "scheduler.binpack", world.waitScope()));
    start();
    for (auto id : {"node1", "node2", "node3"}) nodes.push_back(&addNode(id));
    for (auto node : nodes) node->open();
    settle();
  }
  capnp::Response<schema::ClusterControl::ReplayResults> replay(kj::StringPtr scheduler = "",
                                                                int64_t sinceNs = 0) {
    settle();
    auto request = control.replayRequest();
    request.setScheduler(scheduler);
    request.setSinceNs(sinceNs);
    return request.send().wait(world.waitScope());
  }
  // "web 6 6 0 0": tasks, the same, elsewhere, nowhere.
  std::string counts(kj::StringPtr scheduler = "", int64_t sinceNs = 0) {
    auto response = replay(scheduler, sinceNs);
    std::string text;
    for (auto one : response.getAnswer().getServices()) {
      text += text.empty() ? "" : ", ";
      text += kj::str(one.getService(), " ", one.getTasks(), " ", one.getSame(), " ",
                      one.getElsewhere(), " ", one.getNowhere())
                  .cStr();
    }
    return text;
  }
  template <typename F>
  void read(F&& use) {
    JournalReader reader(world.env(), folder);
    for (;;) {
      auto part = reader.next().promise().wait(world.waitScope());
      if (part.empty()) return;
      for (auto& words : part) {
        capnp::FlatArrayMessageReader message(words);
        use(message.getRoot<JournalEntry>());
      }
    }
  }
  const kj::Path folder;
  std::vector<ScriptedNode*> nodes;
  testing::TestHost packingHost;
  schema::Plugin::Client packing;
};

TEST_CASE("journal: what was decided is decided the same once more", "[manager]") {
  JournalCluster cluster;
  CHECK(cluster.replay().getAnswer().getDecisions() == 0);
  cluster.create({"web", 6});
  cluster.settle();
  cluster.create({"db", 2, "db:1", [](schema::ServiceSpec::Builder spec) {
                    spec.getTask().initPlacement().initConstraints(1).set(
                        0, "node.hostname!=host-node1");
                  }});
  cluster.settle();
  CHECK(cluster.counts() == "db 2 2 0 0, web 6 6 0 0");
  auto laterNs = cluster.world.env().nowNs() + 1;
  cluster.advance(1 * kj::SECONDS);
  cluster.scale("web", 9);
  cluster.nodes[2]->close(true);
  cluster.advance(10 * kj::SECONDS);
  auto later = cluster.replay("", laterNs);
  REQUIRE(later.getAnswer().getServices().size() == 2);
  CHECK(later.getAnswer().getFirstNs() >= laterNs);
  CHECK(later.getAnswer().getTasks().size() == 0);
}

TEST_CASE("journal: another scheduler decides otherwise, task by task", "[manager]") {
  JournalCluster cluster;
  cluster.create({"web", 6});
  cluster.settle();
  CHECK(cluster.counts("spread") == "web 6 6 0 0");
  auto response = cluster.replay("binpack");
  auto answer = response.getAnswer();
  REQUIRE(answer.getServices().size() == 1);
  auto web = answer.getServices()[0];
  CHECK(web.getTasks() == 6);
  CHECK(web.getElsewhere() == 4);  // of two on each of three nodes
  REQUIRE(answer.getTasks().size() == 4);
  std::set<std::string> others;
  for (auto task : answer.getTasks()) {
    CHECK(task.getNode() != task.getOther());
    others.insert(task.getOther().cStr());
  }
  CHECK(others.size() == 1);
  auto unknown = attemptNow([&] { cluster.replay("binpakc"); });
  CHECK(unknown.message() ==
        "usage: no scheduler 'binpakc' for --scheduler; there is binpack, "
        "spread; did you mean 'binpack'?");
}

TEST_CASE("journal: whatever happens, it is decided the same once more", "[manager]") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    JournalCluster cluster(seed);
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    cluster.create({"web", 3});
    cluster.settle();
    for (int step = 0; step < 20; ++step) {
      auto node = cluster.nodes[below(3)];
      switch (below(4)) {
        case 0:
          cluster.scale("web", below(12));
          break;
        case 1:
          node->tasks.empty() ? void()
                              : node->report(node->tasks.begin()->first, TaskState::FAILED, "gone");
          break;
        case 2:
          node->close(true);
          cluster.advance(3 * kj::SECONDS);
          node->open();
          break;
        case 3:
          cluster.update({"web", 1 + below(8), "web:" + std::to_string(step), {}});
          break;
      }
      cluster.advance(1 * kj::SECONDS);
    }
    auto response = cluster.replay();
    REQUIRE(response.getAnswer().getServices().size() == 1);
    CHECK(response.getAnswer().getServices()[0].getTasks() > 3);
    CHECK(response.getAnswer().getTasks().size() == 0);
  }
}

TEST_CASE("journal: it holds no secrets", "[manager]") {
  testing::TestFolder data("manager-journal");
  JournalCluster cluster(1, data.path());
  auto request = cluster.control.createServiceRequest();
  request.setRequestId("secret");
  auto spec = request.initSpec();
  spec.setName("web");
  spec.getMode().initReplicated();
  spec.initTask().initContainer().setImage("registry.test/web:1");
  auto login = request.initLogin();
  login.setRegistry("registry.test");
  login.setPassword("sesame");
  request.send().wait(cluster.world.waitScope());
  cluster.settle();
  cluster.advance(2 * kj::SECONDS);  // until it is written
  size_t services = 0;
  cluster.read([&](JournalEntry::Reader entry) {
    if (!entry.isChange() || entry.getChange().getKind() != "service") return;
    ++services;
    auto words = checkedWords(RecordKind{Kind::SERVICE, false}, entry.getChange().getObject());
    auto service = capnp::readMessageUnchecked<schema::Service>(words.begin() + 1);
    CHECK(service.getSpec().getName() == "web");
    CHECK_FALSE(service.hasSealedLogin());
  });
  CHECK(services > 0);
}

TEST_CASE("journal: the next manager goes on in a file of its own, and both are read",
          "[manager]") {
  JournalCluster cluster;
  cluster.create({"web", 3});
  cluster.settle();
  cluster.stop();
  cluster.start();
  for (auto id : {"node1", "node2", "node3"}) cluster.addNode(id).open();
  cluster.settle();
  cluster.scale("web", 6);
  cluster.settle();
  CHECK(cluster.counts() == "web 6 6 0 0");
}

}  // namespace
}  // namespace orch::control::manager
