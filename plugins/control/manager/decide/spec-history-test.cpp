// The last specs of a service, and the way back to any of them.
#include "decide/spec-history.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;
using Numbers = std::vector<uint64_t>;
using UpdateState = schema::UpdateStatus::State;

struct HistoryCluster : TestCluster {
  HistoryCluster() {
    start();
    node = &addNode();
    node->open();
  }
  Spec spec(const std::string& image, const std::string& label = "") {
    Spec spec{"web", 2, image, {}};
    spec.more = [=](schema::ServiceSpec::Builder builder) {
      builder.initUpdate().setFailureAction(schema::UpdateConfig::FailureAction::ROLLBACK);
      builder.getUpdate().setMonitorMs(1000);
      if (label.empty()) return;
      auto labels = builder.initLabels(1);
      labels[0].setKey("what");
      labels[0].setValue(label.c_str());
    };
    return spec;
  }
  void change(const Spec& spec) {
    update(spec);
    advance(20 * kj::SECONDS);
  }
  std::string rollBackTo(uint64_t number) {
    auto request = control.rollbackServiceRequest();
    request.setRequestId(kj::str("back-", ++requests));
    request.setId("web");
    request.setTo(number);
    auto outcome = attemptNow([&] { request.send().wait(world.waitScope()); });
    advance(20 * kj::SECONDS);
    return outcome.ok() ? "" : outcome.message().cStr();
  }
  Numbers numbers() {
    Numbers result;
    auto answer = service("web");
    for (auto past : answer.getService().getHistory()) result.push_back(past.getNumber());
    return result;
  }
  std::string image() {
    return service("web").getService().getSpec().getTask().getContainer().getImage().cStr();
  }
  ScriptedNode* node;
  int requests = 0;
};

TEST_CASE("history: each change of the spec is one, and none that says the same", "[manager]") {
  HistoryCluster cluster;
  cluster.create(cluster.spec("web:1"));
  cluster.advance(10 * kj::SECONDS);
  CHECK(cluster.numbers() == Numbers{});
  cluster.change(cluster.spec("web:1"));
  CHECK(cluster.numbers() == Numbers{});
  cluster.change(cluster.spec("web:2"));
  cluster.change(cluster.spec("web:2"));
  cluster.change(cluster.spec("web:2", "label"));
  auto answer = cluster.service("web");
  auto service = answer.getService();
  CHECK(cluster.numbers() == Numbers{2, 1});
  CHECK(specNumber(service) == 3);
  auto past = service.getHistory();
  CHECK(past[0].getOutcome().getState() == UpdateState::COMPLETED);
  CHECK(past[1].getOutcome().getState() == UpdateState::NONE);
  CHECK_FALSE(past[0].hasSpec());
  CHECK(past[1].getSpec().getTask().getContainer().getImage() == "web:1");
  CHECK(past[1].getSpecVersion() == 1);
  cluster.change(cluster.spec("web:3", "label"));
  // The labels alone had no update.
  auto later = cluster.service("web");
  CHECK(later.getService().getHistory()[0].getOutcome().getState() == UpdateState::NONE);
}

TEST_CASE("history: five are kept, large ones make room, and numbers go on", "[manager]") {
  HistoryCluster cluster;
  cluster.create(cluster.spec("web:1"));
  for (int i = 2; i <= 8; ++i) cluster.change(cluster.spec("web:" + std::to_string(i)));
  CHECK(cluster.numbers() == Numbers{7, 6, 5, 4, 3});
  std::string large(20 << 10, 'x');
  cluster.change(cluster.spec("web:9", large));
  cluster.change(cluster.spec("web:10", large));
  CHECK(cluster.numbers() == Numbers{9, 8, 7, 6, 5});
  cluster.change(cluster.spec("web:11", large));
  CHECK(cluster.numbers() == Numbers{10, 9, 8, 7, 6});
  cluster.change(cluster.spec("web:12", large));
  CHECK(cluster.numbers() == Numbers{11, 10});
  cluster.change(cluster.spec("web:13"));
  CHECK(cluster.numbers() == Numbers{12, 11});
}

TEST_CASE("history: one goes back to any of them, with the replicas of now", "[manager]") {
  HistoryCluster cluster;
  cluster.create(cluster.spec("web:1"));
  CHECK(cluster.rollBackTo(1) == "service 'web' has no spec to go back to: it was not updated yet");
  cluster.change(cluster.spec("web:2"));
  cluster.change(cluster.spec("web:3"));
  cluster.scale("web", 5);
  cluster.advance(5 * kj::SECONDS);
  CHECK(cluster.rollBackTo(9) == "service 'web' has no version 9 to go back to; there is 1 and 2");
  CHECK(cluster.rollBackTo(3) ==
        "service 'web' is at version 3 already; it can go back to 1 and 2");
  CHECK(cluster.image() == "web:3");
  CHECK(cluster.rollBackTo(1) == "");
  CHECK(cluster.image() == "web:1");
  CHECK(cluster.states("web") == "running running running running running");
  auto answer = cluster.service("web");
  CHECK(answer.getService().getUpdate().getState() == UpdateState::ROLLBACK_COMPLETED);
  CHECK(cluster.numbers() == Numbers{3, 2, 1});
  CHECK(cluster.rollBackTo(0) == "");
  CHECK(cluster.image() == "web:3");
}

TEST_CASE("history: a plan says what the way back would do", "[manager]") {
  HistoryCluster cluster;
  cluster.create(cluster.spec("web:1"));
  cluster.change(cluster.spec("web:2"));
  cluster.change(cluster.spec("web:3"));
  auto request = cluster.control.planRequest();
  auto back = request.initChanges(1)[0].initRollbackTo();
  back.setService("web");
  back.setNumber(1);
  auto answer = request.send().wait(cluster.world.waitScope());
  uint32_t starts = 0;
  for (auto step : answer.getPlan().getSteps()) {
    if (step.getAction() != schema::PlannedStep::Action::START) continue;
    CHECK(step.getImage() == "web:1");
    ++starts;
  }
  CHECK(starts == 2);
  CHECK(cluster.image() == "web:3");
}

TEST_CASE("history: of an update that failed it says why", "[manager]") {
  HistoryCluster cluster;
  cluster.node->onStart = [](auto&, auto& seen) {
    return seen.image == "web:2" ? TaskState::FAILED : TaskState::RUNNING;
  };
  cluster.create(cluster.spec("web:1"));
  cluster.advance(5 * kj::SECONDS);
  cluster.change(cluster.spec("web:2"));
  CHECK(cluster.numbers() == Numbers{2, 1});
  CHECK(cluster.image() == "web:1");
  auto answer = cluster.service("web");
  auto message = answer.getService().getHistory()[0].getOutcome().getMessage();
  CHECK_THAT(message.cStr(), Catch::StartsWith("update failed: task web."));
}

}  // namespace
}  // namespace orch::control::manager
