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
}

}  // namespace orch::control::agent
