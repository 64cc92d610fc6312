// What a request costs at a thousand nodes: counted, not timed.
#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>

#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

struct Work {
  uint64_t objects = 0;  // written to the store
  uint64_t commits = 0;
  uint64_t places = 0;      // asked of the strategy
  uint64_t candidates = 0;  // named in doing so
  uint64_t mostAsked = 0;   // tasks that one call was for
  uint64_t loads = 0;       // nodes that it was told of
  uint64_t orders = 0;      // to agents
  uint64_t words = 0;       // of them
};

class CountingTable final : public schema::PlacementTable::Server {
 public:
  CountingTable(schema::PlacementTable::Client table, Work& work)
      : table(kj::mv(table)), work(work) {}
  kj::Promise<void> apply(ApplyContext context) override {
    work.loads += context.getParams().getChanged().size();
    auto request = table.applyRequest();
    request.setChanged(context.getParams().getChanged());
    request.setGone(context.getParams().getGone());
    request.setDivisions(context.getParams().getDivisions());
    return context.tailCall(kj::mv(request));
  }
  kj::Promise<void> place(PlaceContext context) override {
    auto params = context.getParams();
    ++work.places;
    for (auto word : params.getGroup().getCandidates()) work.candidates += std::popcount(word);
    work.mostAsked = std::max<uint64_t>(work.mostAsked, params.getCount());
    auto request = table.placeRequest();
    request.setGroup(params.getGroup());
    request.setCount(params.getCount());
    request.setSeed(params.getSeed());
    return context.tailCall(kj::mv(request));
  }

 private:
  schema::PlacementTable::Client table;
  Work& work;
};

class CountingScheduler final : public schema::Scheduler::Server {
 public:
  CountingScheduler(schema::Scheduler::Client scheduler, Work& work)
      : scheduler(kj::mv(scheduler)), work(work) {}
  kj::Promise<void> open(OpenContext context) override {
    auto request = scheduler.openRequest();
    request.setNodes(context.getParams().getNodes());
    return request.send().then([this, context](auto&& opened) mutable {
      context.getResults().setTable(kj::heap<CountingTable>(opened.getTable(), work));
    });
  }

 private:
  schema::Scheduler::Client scheduler;
  Work& work;
};

constexpr uint32_t NODES = 1000;

struct ManyNodes {
  ManyNodes() {
    cluster.host.addService("scheduler.spread",
                            kj::heap<CountingScheduler>(cluster.spread(), counted));
    cluster.start();
    for (uint32_t i = 0; i < NODES; ++i) {
      nodes.push_back(&cluster.addNode("node" + std::to_string(i)));
      nodes.back()->open();
    }
    cluster.settle();
    // The strategy has been told of all nodes once.
    cluster.create({"first", 1});
    cluster.advance(3 * kj::SECONDS);
    since();
  }
  // What was done since the last time that it was asked.
  Work since() {
    counted.objects = cluster.store.objectsWritten();
    counted.commits = cluster.store.commits();
    counted.orders = counted.words = 0;
    for (auto node : nodes) {
      counted.orders += node->orders;
      counted.words += node->orderWords;
    }
    Work work = counted;
    auto less = [&](uint64_t Work::*field) { work.*field -= before.*field; };
    for (auto field : {&Work::objects, &Work::commits, &Work::places, &Work::candidates,
                       &Work::loads, &Work::orders, &Work::words}) {
      less(field);
    }
    before = counted;
    return work;
  }

  TestCluster cluster;
  std::vector<ScriptedNode*> nodes;
  Work counted, before;
};

TEST_CASE("work: at a thousand nodes it grows with what changes", "[manager]") {
  ManyNodes many;
  auto& cluster = many.cluster;

  cluster.create({"web", 10});
  cluster.settle();
  CHECK(cluster.states("web").size() == strlen("running") * 10 + 9);
  auto create = many.since();
  // Service, request, ten tasks; then the status of each.
  CHECK(create.objects <= 2 + 10 + 10);
  CHECK(create.commits <= 3);
  CHECK(create.places == 1);
  CHECK(create.candidates <= NODES);
  // The strategy knows all nodes, and has taken off what it gave away itself.
  CHECK(create.loads == 0);
  CHECK(create.orders == 10);
  CHECK(create.words <= 10 * 100);

  cluster.scale("web", 11);
  cluster.settle();
  auto scale = many.since();
  CHECK(scale.objects <= 2 + 1 + 1);
  CHECK(scale.commits <= 2);
  CHECK(scale.places == 1);
  CHECK(scale.candidates <= NODES);
  CHECK(scale.loads == 0);
  CHECK(scale.orders == 1);
  CHECK(scale.words <= 100);

  // A node that has one of the tasks.
  ScriptedNode* lost = nullptr;
  for (auto node : many.nodes) {
    if (node->running() == 1) lost = node;
  }
  REQUIRE(lost != nullptr);
  lost->close(true);
  cluster.advance(100 * kj::MILLISECONDS);
  auto down = many.since();
  // The node, the task that is given up and the one in its place, with its status.
  CHECK(down.objects <= 1 + 1 + 1 + 1);
  CHECK(down.commits <= 3);
  CHECK(down.places == 1);
  CHECK(down.candidates <= NODES);
  CHECK(down.loads <= 1);  // of the node that is down, which has less now
  CHECK(down.orders == 1);
  CHECK(down.words <= 100);

  // Nobody asks for anything: heartbeats cost nothing that is stored or sent.
  cluster.advance(10 * kj::SECONDS);
  auto idle = many.since();
  CHECK(idle.objects == 0);
  CHECK(idle.orders == 0);
  CHECK(idle.places == 0);
}

TEST_CASE("work: what a thousand nodes report during a commit is taken in by slices", "[manager]") {
  constexpr uint64_t MOST = 128;  // of changes in a slice
  ManyNodes many;
  auto& cluster = many.cluster;
  cluster.create({"web", 5 * NODES});
  cluster.settle();
  cluster.store.holdCommits(true);
  auto scaling = cluster.scaleAsync("first", 2).eagerlyEvaluate([](kj::Exception&&) {});
  cluster.settle();
  many.since();
  for (auto node : many.nodes) {
    for (auto& task : node->tasks) node->report(task.first, TaskState::RUNNING, "runs still");
  }
  cluster.settle();
  cluster.store.holdCommits(false);
  cluster.settle();
  auto reported = many.since();
  CHECK(reported.objects >= 5 * NODES);
  CHECK(reported.commits >= reported.objects / MOST);
}

TEST_CASE("work: many nodes are sent their tasks some in each turn of the loop", "[manager]") {
  constexpr size_t MOST = 8;
  TestCluster cluster;
  cluster.start();
  std::vector<ScriptedNode*> nodes;
  for (int i = 0; i < 100; ++i) {
    nodes.push_back(&cluster.addNode("node" + std::to_string(i)));
    nodes.back()->open();
  }
  cluster.create({"web", 0});
  cluster.settle();
  auto served = [&] {
    return std::count_if(nodes.begin(), nodes.end(),
                         [](auto node) { return !node->tasks.empty(); });
  };
  cluster.store.holdCommits(true);
  auto scaling = cluster.scaleAsync("web", 100).eagerlyEvaluate([](kj::Exception&&) {});
  cluster.settle();
  CHECK(served() == 0);
  cluster.store.holdCommits(false);
  cluster.world.settle();
  CHECK(served() == MOST);
  cluster.settle();
  CHECK(served() == 100);
}

// How often others have their turn after the strategy was asked and before anything is written.
Task<void> countTurns(Env& env, TestCluster& cluster, const Work& work, uint64_t& turns) {
  uint64_t commits = 0;
  for (int i = 0; i < 10'000 && work.places < 2; ++i) {
    if (work.places == 0) commits = cluster.store.commits();
    turns += work.places == 1 && cluster.store.commits() == commits;
    co_await env.timer().afterDelay(0 * kj::NANOSECONDS);
  }
}

TEST_CASE("work: tasks that wait get nodes some at a time", "[manager]") {
  constexpr uint32_t WAITING = 2'500;
  constexpr uint64_t MOST_IN_A_PASS = 1'000;
  constexpr uint64_t MOST_IN_A_TURN = 128;
  TestCluster cluster;
  Work work;
  cluster.host.addService("scheduler.spread", kj::heap<CountingScheduler>(cluster.spread(), work));
  cluster.start();
  cluster.create({"web", WAITING});
  cluster.settle();
  CHECK(work.places == 0);
  CHECK(cluster.store.largestBatch() <= MOST_IN_A_TURN);

  auto env = cluster.world.newEnv(7);
  uint64_t turns = 0;
  auto counting = countTurns(*env, cluster, work, turns).promise().eagerlyEvaluate(nullptr);
  cluster.addNode().open();
  cluster.settle();
  CHECK(work.places >= WAITING / MOST_IN_A_PASS);
  CHECK(work.mostAsked <= MOST_IN_A_PASS);
  CHECK(turns >= MOST_IN_A_PASS / MOST_IN_A_TURN);
  CHECK(cluster.service("web").getRunning() == WAITING);
}

TEST_CASE("work: a large service is written and applied in small batches", "[manager]") {
  constexpr size_t MOST = 128;
  TestCluster cluster;
  cluster.start();
  cluster.addNode().open();
  cluster.create({"web", 1000});
  cluster.settle();
  CHECK(cluster.service("web").getRunning() == 1000);
  CHECK(cluster.store.largestBatch() <= MOST);
}

}  // namespace
}  // namespace orch::control::manager
