// For the tests: jobs, in a cluster whose tasks run until the test says how they end.
#pragma once

#include <catch2/catch.hpp>

#include <functional>

#include "state/events.h"
#include "test-cluster.h"

namespace orch::control::manager {

using SpecChange = std::function<void(schema::ServiceSpec::Builder)>;

inline Spec job(uint32_t completions, uint32_t atOnce, SpecChange more = nullptr) {
  Spec spec;
  spec.name = "calc";
  spec.more = [=](schema::ServiceSpec::Builder builder) {
    auto mode = builder.getMode().initReplicatedJob();
    mode.setCompletions(completions);
    mode.setMaxConcurrent(atOnce);
    builder.disownUpdate();
    auto restart = builder.getTask().initRestart();
    restart.setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
    restart.setDelayMs(0);
    if (more) more(builder);
  };
  return spec;
}
inline Spec globalJob(SpecChange more = nullptr) {
  return job(1, 0, [more](schema::ServiceSpec::Builder builder) {
    builder.getMode().setGlobalJob();
    if (more) more(builder);
  });
}

// A cluster whose tasks run until the test says how they end.
struct Runs {
  explicit Runs(std::initializer_list<const char*> ids = {"node1", "node2"}) {
    cluster.start();
    for (auto id : ids) add(id);
  }
  ScriptedNode& add(const char* id) {
    auto& node = *(nodes[id] = &cluster.addNode(id));
    node.open();
    cluster.settle();
    return node;
  }
  void create(Spec spec) {
    cluster.create(spec);
    cluster.settle();
  }
  // "1:running 2:complete/shutdown", every task by slot and age; what is wanted without the state
  // that it should have.
  std::string tasks() {
    std::string all;
    auto response = cluster.tasks("calc", "");
    for (auto task : response.getTasks()) {
      if (!all.empty()) all += " ";
      all += task.getSlot() > 0 ? std::to_string(task.getSlot()) : task.getNodeId().cStr();
      all += ":" + std::string(stateName(task.getStatus().getState()).cStr());
    }
    return all;
  }
  // Ends `count` of the tasks that run, the lowest slots first.
  void end(schema::TaskState how, uint32_t count = 1, const char* error = "") {
    auto response = cluster.tasks("calc", "running");
    for (auto task : response.getTasks()) {
      if (count == 0) break;
      if (task.getStatus().getState() != schema::TaskState::RUNNING) continue;
      nodes.at(task.getNodeId().cStr())->report(task.getMeta().getId().cStr(), how, error);
      --count;
    }
    CHECK(count == 0);
    cluster.settle();
  }
  uint32_t running() {
    uint32_t sum = 0;
    for (auto& node : nodes) sum += node.second->running();
    return sum;
  }
  std::string row() {
    auto response = cluster.control.servicesRequest().send().wait(cluster.world.waitScope());
    auto row = response.getServices()[0];
    return kj::str(row.getMode(), " ", row.getRunning(), "/", row.getDesired(), " (",
                   row.getCompleted(), "/", row.getTotal(), ")")
        .cStr();
  }
  // "1: 3+2 4s why", the newest first: iteration, completed and failed tasks, and how long it took.
  std::string past() {
    std::string all;
    auto response = cluster.service("calc");
    for (auto run : response.getService().getJob().getPast()) {
      if (!all.empty()) all += "; ";
      all += kj::str(run.getIteration(), ": ", run.getCompleted(), "+", run.getFailed(), " ",
                     (run.getEndedAtNs() - run.getStartedAtNs()) / 1'000'000'000, "s",
                     run.getMessage().size() > 0 ? " " : "", run.getMessage())
                 .cStr();
    }
    return all;
  }
  // With the one node.
  void restart(const char* id) {
    cluster.stop();
    nodes.clear();
    cluster.start();
    add(id);
  }
  uint64_t iteration() { return cluster.service("calc").getService().getJob().getIteration(); }
  std::string problem() { return cluster.progress("calc").getProgress().getProblem().cStr(); }
  void update(Spec spec) {
    cluster.update(spec);
    cluster.settle();
  }
  void cut(const char* id) {
    nodes.at(id)->beats = false;
    nodes.at(id)->cut();
    cluster.advance(10 * kj::SECONDS);
    cluster.settle();
  }
  schema::Verdict verdict() { return cluster.progress("calc").getProgress().getVerdict(); }

  TestCluster cluster;
  std::map<std::string, ScriptedNode*> nodes;
};

}  // namespace orch::control::manager
