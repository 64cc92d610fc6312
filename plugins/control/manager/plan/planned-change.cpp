#include "plan/planned-change.h"

#include "member/membership.h"
#include "orch/fail.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {

// A node as the others are, but for what is said of it.
std::string addImagined(View& view, schema::NodeDescription::Reader wanted) {
  if (wanted.getCpuNanos() == 0 || wanted.getMemoryBytes() == 0) {
    fail(kj::str("usage: a node that is imagined needs a number of cores and an amount of memory"));
  }
  kj::Maybe<schema::Node::Reader> model;
  view.anyNode([&](schema::Node::Reader node) {
    if (view.stateOf(node) == schema::Node::State::READY) model = node;
    return model != nullptr;
  });
  capnp::MallocMessageBuilder message;
  auto description = message.initRoot<schema::NodeDescription>();
  KJ_IF_MAYBE (node, model) message.setRoot(node->getDescription());
  description = message.getRoot<schema::NodeDescription>();
  description.setCpuNanos(wanted.getCpuNanos());
  description.setMemoryBytes(wanted.getMemoryBytes());
  description.setHostname(wanted.getHostname());
  description.setEngineLabels(wanted.getEngineLabels());
  description.setGeneric(wanted.getGeneric());
  auto id = view.create<schema::Node>(Kind::NODE, [&](schema::Node::Builder node) {
    node.setDescription(description.asReader());
    node.setAddress(description.getAddress());
  });
  view.assumeReady(id);
  return id;
}

}  // namespace

void loseNode(View& view, const std::string& nodeId) {
  view.edit<schema::Node>(Kind::NODE, nodeId, [&](schema::Node::Builder node) {
    node.setDownSinceNs(view.now());
    node.setDownReason("lost, in this plan");
  });
  for (auto& id : view.base().tasksOf(nodeId)) {
    KJ_IF_MAYBE (task, view.task(id)) view.touch(manager::view(task->getServiceId()));
  }
}

void requireReal(schema::PlannedChange::Reader change) {
  bool imagined = change.isLose() || change.isAdd();
  if (imagined) fail(kj::str("usage: a node that is lost or added in a plan cannot be applied"));
}

Answer makeChange(View& view, const PlannedRequest& request, schema::PlannedChange::Reader change,
                  const Offer& offer) {
  using Change = schema::PlannedChange;
  auto node = [&](kj::StringPtr typed) { return resolveNode(view, typed, request.self); };
  switch (change.which()) {
    case Change::CREATE:
      return createService(view, request.requestId, change.getCreate(), offer);
    case Change::UPDATE: {
      auto update = change.getUpdate();
      return updateService(view, request.requestId, update.getId(), 0, update.getSpec(), offer);
    }
    case Change::REMOVE:
      return removeService(view, request.requestId, change.getRemove());
    case Change::SCALE: {
      auto scale = change.getScale();
      return scaleService(view, request.requestId, scale.getService(), scale.getReplicas());
    }
    case Change::ROLLBACK:
      return rollbackService(view, request.requestId, change.getRollback(), 0);
    case Change::ROLLBACK_TO: {
      auto back = change.getRollbackTo();
      return rollbackService(view, request.requestId, back.getService(), back.getNumber());
    }
    case Change::NODE: {
      auto update = change.getNode();
      updateNode(view, node(update.getNode()), update.getChange());
      return {};
    }
    case Change::LOSE:
      loseNode(view, node(change.getLose()));
      return {};
    case Change::ADD:
      addImagined(view, change.getAdd());
      return {};
  }
  fail(kj::str("usage: this manager cannot plan such a change; is orch newer than it?"));
}

}  // namespace orch::control::manager
