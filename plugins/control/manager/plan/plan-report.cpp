#include "plan/plan-report.h"

#include <capnp/message.h>
#include <xxhash.h>

#include <algorithm>

#include "decide/cron.h"
#include "decide/mode.h"
#include "serve/validate.h"

namespace orch::control::manager {

namespace {

std::string hostnameOf(const View& view, const View& before, const std::string& nodeId) {
  for (auto one : {&view, &before}) {
    KJ_IF_MAYBE (node, one->node(nodeId)) return text(node->getDescription().getHostname());
  }
  return nodeId;
}

uint64_t leftOf(uint64_t total, int64_t used) {
  return static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(total) - used));
}

void describeSteps(const View& view, const View& before, const Prediction& prediction,
                   schema::Plan::Builder plan) {
  auto count = std::min(prediction.steps().size(), Prediction::MAX_STEPS);
  auto list = plan.initSteps(count);
  for (uint32_t i = 0; i < count; ++i) {
    auto& step = prediction.steps()[i];
    list[i].setAction(step.action);
    list[i].setService(step.service.c_str());
    list[i].setSlot(step.slot.number);
    if (!step.nodeId.empty()) list[i].setNode(hostnameOf(view, before, step.nodeId).c_str());
    list[i].setAtMs(step.atNs / NS_PER_MS);
    list[i].setReason(step.reason.c_str());
    list[i].setImage(step.image.c_str());
  }
}

void describeResources(schema::NodeDescription::Reader description, const GenericUsage& usage,
                       bool there, schema::PlannedNode::Builder out) {
  auto all = description.getGeneric();
  auto total = out.initGeneric(all.size());
  auto free = out.initFreeGeneric(all.size());
  for (uint32_t i = 0; i < all.size(); ++i) {
    total[i].setKind(all[i].getKind());
    total[i].setAmount(all[i].getAmount());
    free[i].setKind(all[i].getKind());
    if (there) free[i].setAmount(freeOf(all, usage, manager::view(all[i].getKind())));
  }
}

void describeNodes(const View& view, const View& before, schema::Plan::Builder plan) {
  auto nodes = view.nodes();
  auto list = plan.initNodes(nodes.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto id = text(nodes[i].getMeta().getId());
    auto description = nodes[i].getDescription();
    auto usage = view.nodeUsage(id);
    bool there = view.stateOf(nodes[i]) == schema::Node::State::READY;
    list[i].setId(id.c_str());
    list[i].setNode(description.getHostname());
    list[i].setTasksBefore(std::max<int64_t>(0, before.nodeUsage(id).wanted));
    list[i].setTasks(there ? std::max<int64_t>(0, usage.wanted) : 0);
    list[i].setCpuNanos(description.getCpuNanos());
    list[i].setMemoryBytes(description.getMemoryBytes());
    describeResources(description, usage.generic, there, list[i]);
    if (!there) continue;
    list[i].setFreeCpuNanos(leftOf(description.getCpuNanos(), usage.cpuNanos));
    list[i].setFreeMemoryBytes(leftOf(description.getMemoryBytes(), usage.memoryBytes));
  }
}

void describeServices(const View& view, const View& before, const Prediction& prediction,
                      schema::Plan::Builder plan) {
  auto list = plan.initServices(prediction.services().size());
  uint32_t i = 0;
  for (auto& id : prediction.services()) {
    auto out = list[i++];
    out.setId(id.c_str());
    auto service = view.service(id);
    if (service == nullptr) service = before.service(id);
    KJ_IF_MAYBE (known, service) out.setName(known->getSpec().getName());
    out.setGone(view.service(id) == nullptr);
    KJ_IF_MAYBE (now, view.service(id)) {
      using State = schema::UpdateStatus::State;
      auto state = now->getUpdate().getState();
      bool well = state == State::NONE || state == State::COMPLETED;
      if (!well) out.setUpdate(now->getUpdate().getMessage());
      int64_t nextNs = now->getJob().getNextAtNs();
      if (nextNs != 0) out.setUpdate(("a run begins at " + minuteText(nextNs)).c_str());
    }
    auto count = headcountOf(view, id);
    out.setDesired(count.desired);
    out.setRunning(count.running);
  }
}

}  // namespace

Headcount headcountOf(const View& view, const std::string& serviceId) {
  Headcount result;
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    auto mode = modeOf(service->getSpec());
    if (mode == nullptr) return result;
    result.desired = mode->desired(view, *service);
    for (auto& slot : view.slots(serviceId)) {
      bool runs = std::any_of(slot.tasks.begin(), slot.tasks.end(), [&](auto& task) {
        if (!isRunning(task)) return false;
        auto node = view.node(manager::view(task.getNodeId()));
        return node != nullptr && !isDown(KJ_ASSERT_NONNULL(node));
      });
      result.running += runs || (mode->job && hasCompleted(view, slot));
    }
  }
  return result;
}

void describePlan(const View& view, const View& before, const Prediction& prediction,
                  schema::Plan::Builder plan) {
  describeSteps(view, before, prediction, plan);
  describeNodes(view, before, plan);
  describeServices(view, before, prediction, plan);
  plan.setUnfinished(prediction.isUnfinished());
}

std::string planIdOf(schema::Plan::Reader plan,
                     capnp::List<schema::PlannedChange>::Reader changes) {
  uint64_t hash = 0;
  auto add = [&](auto one) {
    auto words = capnp::canonicalize(one);
    hash = XXH3_64bits_withSeed(words.begin(), words.asBytes().size(), hash);
  };
  for (auto change : changes) add(change);
  for (auto step : plan.getSteps()) add(step);
  hash = XXH3_64bits_withSeed(&hash, sizeof(hash), plan.getUnfinished());
  return kj::str(kj::hex(hash)).cStr();
}

}  // namespace orch::control::manager
