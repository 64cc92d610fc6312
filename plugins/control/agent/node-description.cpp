#include "node-description.h"

namespace orch::control::agent {

void describeHost(Env& env, const NodeFacts& facts, schema::NodeDescription::Builder description) {
  auto hardware = env.hardware();
  description.setHostname(facts.name);
  description.setOs("linux");
  description.setArchitecture(hardware.architecture);
  description.setCpuNanos(hardware.cpuNanos);
  description.setMemoryBytes(hardware.memoryBytes);
  description.setEngineVersion(facts.version);
  auto labels = description.initEngineLabels(facts.labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    labels[i].setKey(facts.labels[i].key);
    labels[i].setValue(facts.labels[i].value);
  }
  auto generic = description.initGeneric(facts.resources.size());
  for (uint32_t i = 0; i < generic.size(); ++i) {
    auto& resource = facts.resources[i];
    generic[i].setKind(resource.kind);
    generic[i].setAmount(resource.amount);
    auto names = generic[i].initNames(resource.names.size());
    for (uint32_t k = 0; k < names.size(); ++k) names.set(k, resource.names[k]);
  }
}

}  // namespace orch::control::agent
