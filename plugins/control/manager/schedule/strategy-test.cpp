// Strategies that are slow, silent or wrong.
#include <catch2/catch.hpp>

#include <algorithm>

#include "orch/schema/scheduler.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using Choose = std::function<kj::Promise<std::vector<std::string>>(uint32_t count)>;
using Numbers = std::map<std::string, uint32_t>;

class Table final : public schema::PlacementTable::Server {
 public:
  explicit Table(Choose choose) : choose(std::move(choose)) {}
  kj::Promise<void> apply(ApplyContext context) override {
    for (auto node : context.getParams().getChanged()) {
      numbers[node.getId().cStr()] = node.getNumber();
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> place(PlaceContext context) override {
    return choose(context.getParams().getCount())
        .then([this, context](std::vector<std::string> chosen) mutable {
          auto nodes = context.getResults().initNodes(chosen.size());
          for (uint32_t i = 0; i < nodes.size(); ++i) {
            auto it = numbers.find(chosen[i]);
            nodes.set(i, it == numbers.end() ? 12'345 : it->second);
          }
        });
  }

 private:
  Choose choose;
  Numbers numbers;
};

class Strategy final : public schema::Scheduler::Server {
 public:
  explicit Strategy(Choose choose) : choose(std::move(choose)) {}
  kj::Promise<void> open(OpenContext context) override {
    context.getResults().setTable(kj::heap<Table>(choose));
    return kj::READY_NOW;
  }

 private:
  Choose choose;
};

struct StrategyFixture : TestCluster {
  explicit StrategyFixture(Choose choose) {
    host.addService("scheduler.odd", kj::heap<Strategy>(std::move(choose)));
    start();
    node = &addNode();
    node->open();
  }
  Spec odd(const char* name, uint32_t replicas = 1,
           std::function<void(schema::ServiceSpec::Builder)> more = {}) {
    Spec spec{name, replicas, "web:1", {}};
    spec.more = [more](schema::ServiceSpec::Builder spec) {
      spec.getTask().initPlacement().setStrategy("odd");
      if (more) more(spec);
    };
    return spec;
  }
  std::string problem(const char* name) { return progress(name).getProgress().getProblem().cStr(); }
  size_t warnings() const {
    return std::count_if(host.logLines().begin(), host.logLines().end(), [](auto& line) {
      return line.find("manager.strategy-failed") != std::string::npos;
    });
  }
  ScriptedNode* node;
};

TEST_CASE("strategy: one that never answers holds nobody else up", "[manager]") {
  StrategyFixture cluster([](uint32_t) { return kj::NEVER_DONE; });
  auto beginNs = cluster.world.env().nowNs();
  cluster.create(cluster.odd("one", 2));
  cluster.create(cluster.odd("two", 2));
  cluster.create({"web", 3});
  CHECK(cluster.world.env().nowNs() - beginNs < 100'000'000);
  cluster.settle();
  CHECK(cluster.states("web") == "running running running");
  CHECK(cluster.states("one") == "pending pending");
  cluster.advance(3 * kj::SECONDS);
  for (auto name : {"one", "two"}) {
    CHECK_THAT(cluster.problem(name),
               Catch::EndsWith("the strategy 'scheduler.odd' does not answer: nothing within 2 s; "
                               "does it run? see 'orch plugin ls'"));
  }
  cluster.advance(60 * kj::SECONDS);
  CHECK(cluster.warnings() == 1);
}

TEST_CASE("strategy: a new service is not told what an earlier one failed for", "[manager]") {
  bool broken = true;
  StrategyFixture cluster([&](uint32_t count) -> kj::Promise<std::vector<std::string>> {
    if (broken) return KJ_EXCEPTION(FAILED, "it is broken");
    return std::vector<std::string>(count, "node1");
  });
  cluster.create(cluster.odd("one"));
  cluster.settle();
  CHECK_THAT(cluster.problem("one"), Catch::Contains("it is broken"));
  broken = false;
  cluster.advance(1 * kj::SECONDS);
  cluster.create(cluster.odd("two"));
  cluster.settle();
  CHECK(cluster.states("two") == "running");
  CHECK(cluster.problem("two") == "");
  cluster.advance(5 * kj::SECONDS);
  CHECK(cluster.states("one") == "running");
}

TEST_CASE("strategy: an answer after its pass still counts", "[manager]") {
  StrategyFixture* fixture = nullptr;
  StrategyFixture cluster([&](uint32_t count) {
    auto& timer = fixture->world.env().timer();
    return timer.afterDelay(500 * kj::MILLISECONDS).then([count] {
      return std::vector<std::string>(count, "node1");
    });
  });
  fixture = &cluster;
  cluster.create(cluster.odd("one", 2));
  cluster.create(cluster.odd("two", 1));
  CHECK(cluster.states("one") == "pending pending");
  cluster.advance(700 * kj::MILLISECONDS);
  CHECK(cluster.states("one") == "running running");
  cluster.advance(700 * kj::MILLISECONDS);
  CHECK(cluster.states("two") == "running");
  CHECK(cluster.warnings() == 0);
}

TEST_CASE("strategy: a node that cannot take the task is not accepted", "[manager]") {
  for (auto chosen : {"nosuch", "node1"}) {
    StrategyFixture cluster([&](uint32_t count) {
      return kj::Promise<std::vector<std::string>>(std::vector<std::string>(count, chosen));
    });
    cluster.addNode("node2").open();
    auto most = [](schema::ServiceSpec::Builder spec) {
      spec.getTask().getPlacement().setMaxReplicasPerNode(1);
    };
    cluster.create(cluster.odd("one", 2, most));
    cluster.settle();
    bool real = chosen == std::string("node1");
    CHECK(cluster.states("one") == (real ? "running pending" : "pending pending"));
    CHECK_THAT(cluster.problem("one"),
               Catch::Contains("'scheduler.odd' chose nodes that cannot take the task"));
  }
}

TEST_CASE("strategy: an earlier wake-up of a service is not put off by its retry", "[manager]") {
  int calls = 0;
  StrategyFixture cluster([&](uint32_t count) -> kj::Promise<std::vector<std::string>> {
    if (++calls > 2) return kj::NEVER_DONE;
    return std::vector<std::string>(count, "node1");
  });
  cluster.create({"other", 1});
  cluster.create(cluster.odd("web", 2, [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initRestart().setDelayMs(4000);
  }));
  cluster.settle();
  for (auto& entry : cluster.node->tasks) {
    if (entry.second.serviceName != "web" || entry.second.slot != 1) continue;
    cluster.node->report(entry.first, schema::TaskState::FAILED, "gone");
    break;
  }
  cluster.settle();
  CHECK(cluster.states("web") == "ready running");
  cluster.scale("web", 3);
  cluster.advance(3 * kj::SECONDS);  // the strategy has been given up, until 7 s
  cluster.remove("other");           // room became free: all that wait are tried
  cluster.advance(1100 * kj::MILLISECONDS);
  CHECK(cluster.states("web") == "running running pending");
}

}  // namespace
}  // namespace orch::control::manager
