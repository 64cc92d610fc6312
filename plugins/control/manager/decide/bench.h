// For the tests of what decides: a state, and views of it whose changes become part of it.
#pragma once

#include <catch2/catch.hpp>

#include "decide/node-health.h"
#include "decide/reconcile.h"
#include "decide/slot-rules.h"

namespace orch::control::manager {

inline constexpr int64_t NOW = 1'800'000'000'000'000'000;

struct Bench {
  State state;
  uint64_t revision = 0;
  int64_t nowNs = NOW;
  std::string serviceId;

  template <typename F>
  void change(F&& decide) {
    View view(state, nowNs, Seed{1, 2, 3, ++revision});
    decide(view);
    for (auto& entry : view.takeChanges()) state.apply(entry.first, kj::mv(entry.second), revision);
  }
  void node(const char* id) {
    change([&](View& view) {
      capnp::MallocMessageBuilder message;
      auto description = message.initRoot<schema::NodeDescription>();
      description.setHostname(id);
      description.setCpuNanos(4'000'000'000);
      description.setMemoryBytes(8ull << 30);
      registerNode(view, id, description);
    });
    state.setPresence(id, {Presence::HEARD, 0, {}});
  }
  void service(uint32_t replicas) {
    change([&](View& view) {
      serviceId =
          view.create<schema::Service>(Kind::SERVICE, [&](schema::Service::Builder service) {
            auto spec = service.initSpec();
            spec.setName("web");
            spec.getMode().initReplicated().setReplicas(replicas);
            spec.initTask().initContainer().setImage("web");
            service.setSpecVersion(1);
          });
    });
  }
  // What is heard, or not, of the node, and what follows for it at once.
  void heard(const char* id, Presence presence) {
    state.setPresence(id, {presence, 0, {}});
    change([&](View& view) { reconcileNode(view, id, NEVER_NS / 2); });
  }
  void reconcile() {
    change([&](View& view) { reconcileService(view, serviceId); });
  }
  // All tasks that should run get to this node and run.
  void run(const char* node) {
    change([&](View& view) {
      for (auto& slot : view.slots(serviceId)) {
        for (auto& task : slot.tasks) {
          if (!isWanted(task) || task.getNodeId().size() > 0) continue;
          view.editTask(task, [&](schema::Task::Builder changed) { changed.setNodeId(node); });
          view.editStatus(task, [&](schema::TaskStatus::Builder status) {
            status.setState(schema::TaskState::RUNNING);
            status.setRunningAtNs(nowNs);
          });
        }
      }
    });
  }
  void availability(const char* node, schema::Node::Availability availability) {
    change([&](View& view) {
      view.edit<schema::Node>(Kind::NODE, node, [&](schema::Node::Builder changed) {
        changed.setAvailability(availability);
      });
    });
  }
  // As a filter does of `KEY==VALUE` and `KEY!=VALUE`.
  void answerFilters() {
    for (auto& question : state.verdicts().takeQuestions()) {
      auto& text = question.of->expression;
      auto at = text.find_first_of("=!");
      if (question.parses) {
        capnp::MallocMessageBuilder message;
        auto rule = message.initRoot<schema::Rule>();
        rule.initKeys(1).set(0, text.substr(0, at).c_str());
        rule.initRefusals(1).set(0, ("constraint " + text + " not met").c_str());
        Verdicts::learn(*question.of, rule);
        continue;
      }
      bool same = question.values[0] == text.substr(at + 2);
      Verdicts::learn(question, same == (text[at] == '=') ? Verdicts::MET : 1);
    }
  }
  uint32_t count(schema::TaskState desired) {
    uint32_t count = 0;
    for (auto& entry : state.all(Kind::TASK)) {
      count += entry.second.as<schema::Task>().getDesired() == desired;
    }
    return count;
  }
};

}  // namespace orch::control::manager
