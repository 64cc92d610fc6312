// Filters as plugins: asked ahead of a pass, once for all nodes that are alike; a slow or missing
// one holds up nobody else.
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "state/verdicts.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

struct Asked {
  uint32_t calls = 0;
  uint32_t questions = 0;
  bool answers = true;
};

// Counts, and answers when it may.
class CountingFilter final : public schema::Filter::Server {
 public:
  CountingFilter(schema::Filter::Client filter, Asked& asked)
      : filter(kj::mv(filter)), asked(asked) {}
  kj::Promise<void> parse(ParseContext context) override {
    if (!asked.answers) return kj::NEVER_DONE;
    auto request = filter.parseRequest();
    request.setExpression(context.getParams().getExpression());
    return context.tailCall(kj::mv(request));
  }
  kj::Promise<void> check(CheckContext context) override {
    if (!asked.answers) return kj::NEVER_DONE;
    ++asked.calls;
    asked.questions += context.getParams().getQuestions().size();
    auto request = filter.checkRequest();
    request.setQuestions(context.getParams().getQuestions());
    return context.tailCall(kj::mv(request));
  }

 private:
  schema::Filter::Client filter;
  Asked& asked;
};

struct FilterCluster : TestCluster {
  explicit FilterCluster(int count = 3) {
    host.addService("filter.constraint", kj::heap<CountingFilter>(constraint(), asked));
    begin(count);
  }
  void begin(int count) {
    start();
    nodes.clear();
    for (int i = 1; i <= count; ++i) {
      nodes.push_back(&addNode("node" + std::to_string(i)));
      nodes.back()->open();
    }
    settle();
  }
  static std::function<void(schema::ServiceSpec::Builder)> constrained(const char* text) {
    return [=](schema::ServiceSpec::Builder spec) {
      spec.getTask().initPlacement().initConstraints(1).set(0, text);
    };
  }
  Asked asked;
  std::vector<ScriptedNode*> nodes;
};

TEST_CASE("filters: nodes that are alike are one question, and it is asked once", "[manager]") {
  FilterCluster cluster(30);
  cluster.create({"web", 2, "web:1", FilterCluster::constrained("node.role==worker")});
  cluster.settle();
  CHECK(cluster.states("web") == "running running");
  CHECK(cluster.asked.questions == 1);
  cluster.create({"db", 2, "web:1", FilterCluster::constrained("node.role==worker")});
  cluster.scale("web", 9);
  cluster.settle();
  cluster.addNode("node31").open();
  cluster.settle();
  CHECK(cluster.asked.questions == 1);
  cluster.create({"one", 1, "web:1", FilterCluster::constrained("node.hostname==host-node7")});
  cluster.settle();
  CHECK(cluster.states("one") == "running");
  CHECK(cluster.asked.questions == 32);
  CHECK(cluster.asked.calls <= 3);
}

TEST_CASE("filters: one that does not answer holds up its own services alone", "[manager]") {
  FilterCluster cluster;
  cluster.create({"web", 1, "web:1", FilterCluster::constrained("node.role==worker")});
  cluster.settle();
  cluster.asked.answers = false;
  auto created = attemptNow([&] {
    cluster.create({"new", 1, "web:1", FilterCluster::constrained("node.hostname!=x")});
  });
  REQUIRE(!created.ok());
  CHECK(std::string(created.message().cStr()).find("nothing within 2 s") != std::string::npos);
  // What it has said before is still known.
  cluster.scale("web", 2);
  cluster.create({"plain", 2});
  cluster.settle();
  CHECK(cluster.states("web") == "running running");
  CHECK(cluster.states("plain") == "running running");
  cluster.stop();
  cluster.begin(3);
  cluster.advance(3 * kj::SECONDS);
  cluster.scale("web", 3);
  cluster.advance(1 * kj::SECONDS);
  auto list = cluster.tasks("web");
  uint32_t waiting = 0;
  for (auto task : list.getTasks()) {
    if (task.getStatus().getError().size() == 0) continue;
    ++waiting;
    CHECK(task.getStatus().getError() ==
          "no suitable node (the filter constraint has not answered on 3 nodes)");
  }
  CHECK(waiting == 1);
  cluster.asked.answers = true;
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.states("web") == "running running running");
}

TEST_CASE("filters: one that there is not is named with those that there are", "[manager]") {
  FilterCluster cluster;
  auto filtered = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initFilters(1).set(0, "constrain:node.role==worker");
  };
  CHECK(cluster.createError({"web", 1, "web:1", filtered}) ==
        "usage: no filter 'constrain' for --filter; there is affinity, constraint; did you "
        "mean 'constraint'?");
  auto named = [](schema::ServiceSpec::Builder spec) {
    spec.getTask().initPlacement().initFilters(1).set(0, "constraint:node.hostname==host-node2");
  };
  cluster.create({"web", 2, "web:1", named});
  cluster.settle();
  CHECK(cluster.states("web") == "running running");
  CHECK(cluster.nodes[1]->running() == 2);
}

// Somebody else's: takes nodes whose host name ends in an odd digit, and `odd` alone.
class OddFilter final : public schema::Filter::Server {
 public:
  explicit OddFilter(const char* key, bool answers = true) : key(key), answers(answers) {}
  kj::Promise<void> parse(ParseContext context) override {
    if (context.getParams().getExpression() != "odd") {
      fail(kj::str("usage: the odd '", context.getParams().getExpression(), "' expects odd"));
    }
    auto rule = context.getResults().initRule();
    rule.initKeys(1).set(0, key);
    rule.initRefusals(2).set(1, "is even");
    return kj::READY_NOW;
  }
  kj::Promise<void> check(CheckContext context) override {
    if (!answers) return kj::READY_NOW;
    auto questions = context.getParams().getQuestions();
    auto codes = context.getResults().initCodes(questions.size());
    for (uint32_t i = 0; i < codes.size(); ++i) {
      std::string name = questions[i].getValues()[0].cStr();
      codes.set(i, (name.back() - '0') % 2 == 1 ? 0 : 2);
    }
    return kj::READY_NOW;
  }

 private:
  const char* key;
  bool answers;
};

TEST_CASE("filters: a third party's is used by naming it", "[manager]") {
  FilterCluster cluster(4);
  cluster.host.addService("filter.mine", kj::heap<OddFilter>("node.hostname"));
  cluster.host.addService("filter.strange", kj::heap<OddFilter>("node.colour"));
  cluster.host.addService("filter.silent", kj::heap<OddFilter>("node.hostname", false));
  auto filtered = [](const char* text) {
    return [=](schema::ServiceSpec::Builder spec) {
      spec.getTask().initPlacement().initFilters(1).set(0, text);
      spec.getTask().getPlacement().setMaxReplicasPerNode(1);
    };
  };
  cluster.create({"web", 3, "web:1", filtered("mine:odd")});
  cluster.settle();
  CHECK(cluster.nodes[0]->running() == 1);
  CHECK(cluster.nodes[2]->running() == 1);
  auto list = cluster.tasks("web");
  std::string error;
  for (auto task : list.getTasks()) error += task.getStatus().getError().cStr();
  CHECK(error == "no suitable node (max replicas per node reached on 2 nodes; is even on 2 nodes)");
  cluster.create({"soft", 4, "web:1", filtered("mine:odd ~ 3")});
  cluster.settle();
  CHECK(cluster.states("soft") == "running running running running");
  CHECK(cluster.createError({"x", 1, "web:1", filtered("mine:even")}) ==
        "usage: the odd 'even' expects odd");
  CHECK_THAT(cluster.createError({"x", 1, "web:1", filtered("strange:odd")}),
             Catch::StartsWith("usage: the strange 'odd' has the unknown key 'node.colour'"));
  cluster.create({"waits", 1, "web:1", filtered("silent:odd")});
  cluster.settle();
  CHECK(cluster.states("waits") == "pending");
  auto waiting = cluster.tasks("waits");
  CHECK(waiting.getTasks()[0].getStatus().getError() ==
        "no suitable node (the filter silent has not answered on 4 nodes)");
}

TEST_CASE("filters: the weight at the end of a term", "[manager]") {
  uint32_t weight = 7;
  CHECK(withoutWeight("node.role==worker", weight) == "node.role==worker");
  CHECK(weight == 0);
  CHECK(withoutWeight("node.role==worker ~ 10", weight) == "node.role==worker");
  CHECK(weight == 10);
  CHECK(withoutWeight("node.role==worker ~5 ", weight) == "node.role==worker");
  CHECK(weight == 5);
  CHECK(withoutWeight("node.role==worker ~", weight) == "node.role==worker");
  CHECK(weight == 1);
  for (auto text : {"a==b~5", "a==b ~ 0", "a==b ~ 1000001", "a==b ~ x", "~", "~ 3", "", "5",
                    "a==b ~ 99999999999999999999", "a=='b ~ 10'"}) {
    CHECK(withoutWeight(text, weight) == text);
    CHECK(weight == 0);
  }
}

}  // namespace
}  // namespace orch::control::manager
