#include "state/service-index.h"

#include <algorithm>

#include "state/usage.h"

namespace orch::control::manager {

kj::Maybe<uint32_t> replicasOf(schema::ServiceSpec::Reader spec) {
  auto mode = spec.getMode();
  if (mode.isReplicated()) return mode.getReplicated().getReplicas();
  if (mode.isReplicatedJob()) return mode.getReplicatedJob().getCompletions();
  return nullptr;
}

void setReplicas(schema::ServiceSpec::Builder spec, uint32_t replicas) {
  auto mode = spec.getMode();
  if (mode.isReplicatedJob()) return mode.getReplicatedJob().setCompletions(replicas);
  mode.getReplicated().setReplicas(replicas);
}

kj::Maybe<uint32_t> tasksAtOnce(schema::ServiceSpec::Reader spec) {
  auto replicas = replicasOf(spec);
  if (!spec.getMode().isReplicatedJob()) return replicas;
  uint32_t most = spec.getMode().getReplicatedJob().getMaxConcurrent();
  return most == 0 ? replicas : std::min(most, KJ_ASSERT_NONNULL(replicas));
}

bool isJob(schema::ServiceSpec::Reader spec) {
  return spec.getMode().isReplicatedJob() || spec.getMode().isGlobalJob();
}

bool isByNode(schema::ServiceSpec::Reader spec) {
  return spec.getMode().isGlobal() || spec.getMode().isGlobalJob();
}

void ServiceIndex::count(schema::Service::Reader service, int sign) {
  auto id = text(service.getMeta().getId());
  auto spec = service.getSpec();
  auto& ids = byName[text(spec.getName())];
  if ((ids[id] += sign) == 0) ids.erase(id);
  if (ids.empty()) byName.erase(text(spec.getName()));

  if (isByNode(spec) && (global[id] += sign) == 0) global.erase(id);

  for (auto dependency : spec.getDependsOn()) {
    auto& waiting = dependents[text(dependency.getService())];
    if ((waiting[id] += sign) == 0) waiting.erase(id);
    if (waiting.empty()) dependents.erase(text(dependency.getService()));
  }

  for (auto port : service.getPorts()) {
    if (port.getPublished() == 0) continue;
    uint32_t key = portKey(port.getProtocol(), port.getPublished());
    auto& use = byPort[key][id];
    (port.getMode() == schema::PortSpec::PublishMode::INGRESS ? use.ingress : use.host) += sign;
    if (use.ingress == 0 && use.host == 0) byPort[key].erase(id);
    if (byPort[key].empty()) byPort.erase(key);
  }
  eachNetwork(spec.getTask(), [&](std::string name) {
    auto& users = byNetwork[name];
    if ((users[id] += sign) == 0) users.erase(id);
    if (users.empty()) byNetwork.erase(name);
  });
  KJ_IF_MAYBE (replicas, tasksAtOnce(spec)) {
    eachNetwork(spec.getTask(), [&](std::string name) {
      replicasByNetwork[name] += sign * static_cast<int64_t>(*replicas);
      if (replicasByNetwork[name] == 0) replicasByNetwork.erase(name);
    });
  }
}

}  // namespace orch::control::manager
