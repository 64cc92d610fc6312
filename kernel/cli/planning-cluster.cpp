#include "planning-cluster.h"

#include "orch/fail.h"

namespace orch::cli {

namespace {

class PlanningCluster final : public schema::ClusterControl::Server {
 public:
  PlanningCluster(schema::ClusterControl::Client cluster, PlannedChanges& changes)
      : cluster(kj::mv(cluster)), changes(changes) {}

  kj::Promise<void> createService(CreateServiceContext context) override {
    auto spec = context.getParams().getSpec();
    refuseLogin(context.getParams().getLogin());
    changes.add().setCreate(spec);
    fill(context.getResults().initService(), spec.getName(), spec);
    return kj::READY_NOW;
  }
  kj::Promise<void> updateService(UpdateServiceContext context) override {
    auto params = context.getParams();
    refuseLogin(params.getLogin());
    auto update = changes.add().initUpdate();
    update.setId(params.getId());
    update.setSpec(params.getSpec());
    fill(context.getResults().initService(), params.getId(), params.getSpec());
    return kj::READY_NOW;
  }
  kj::Promise<void> scaleService(ScaleServiceContext context) override {
    auto params = context.getParams();
    auto scale = changes.add().initScale();
    scale.setService(params.getId());
    scale.setReplicas(params.getReplicas());
    context.getResults().initService().initMeta().setId(params.getId());
    return kj::READY_NOW;
  }
  kj::Promise<void> rollbackService(RollbackServiceContext context) override {
    auto id = context.getParams().getId();
    auto to = context.getParams().getTo();
    auto change = changes.add();
    if (to == 0) {
      change.setRollback(id);
    } else {
      change.initRollbackTo().setService(id);
      change.getRollbackTo().setNumber(to);
    }
    context.getResults().initService().initMeta().setId(id);
    return kj::READY_NOW;
  }
  kj::Promise<void> removeService(RemoveServiceContext context) override {
    auto id = context.getParams().getId();
    changes.add().setRemove(id);
    context.getResults().setServiceId(id);
    return kj::READY_NOW;
  }
  kj::Promise<void> updateNode(UpdateNodeContext context) override {
    auto params = context.getParams();
    auto node = changes.add().initNode();
    node.setNode(params.getId());
    node.setChange(params.getChange());
    auto request = cluster.nodeRequest();
    request.setId(params.getId());
    return request.send().then(
        [context](auto&& answer) mutable { context.getResults().setNode(answer.getNode()); });
  }

  kj::Promise<void> service(ServiceContext context) override {
    auto request = cluster.serviceRequest();
    request.setId(context.getParams().getId());
    return request.send().then([context](auto&& answer) mutable { context.setResults(answer); });
  }

 private:
  // The manager keeps plans, and no secrets with them.
  static void refuseLogin(schema::RegistryLogin::Reader login) {
    if (login.getUser().size() == 0) return;
    fail(kj::str("usage: a login cannot be part of a plan: plan without --with-registry-auth"));
  }
  void fill(schema::Service::Builder service, kj::StringPtr id, schema::ServiceSpec::Reader spec) {
    service.initMeta().setId(id);
    service.setSpec(spec);
  }

  schema::ClusterControl::Client cluster;
  PlannedChanges& changes;
};

}  // namespace

schema::PlannedChange::Builder PlannedChanges::add() {
  changes.push_back(kj::heap<capnp::MallocMessageBuilder>());
  return changes.back()->initRoot<schema::PlannedChange>();
}

void PlannedChanges::fill(capnp::List<schema::PlannedChange>::Builder list) {
  for (uint32_t i = 0; i < list.size(); ++i) {
    list.setWithCaveats(i, changes[i]->getRoot<schema::PlannedChange>().asReader());
  }
}

schema::ClusterControl::Client newPlanningCluster(schema::ClusterControl::Client cluster,
                                                  PlannedChanges& changes) {
  return kj::heap<PlanningCluster>(kj::mv(cluster), changes);
}

}  // namespace orch::cli
