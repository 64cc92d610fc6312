#include "node-description.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace orch::control::agent {

namespace {
constexpr uint64_t NANOS_PER_CORE = 1'000'000'000;
}

void describeHost(const NodeFacts& facts, schema::NodeDescription::Builder description) {
  struct utsname system = {};
  uname(&system);
  struct sysinfo memory = {};
  sysinfo(&memory);
  description.setHostname(facts.name);
  description.setOs("linux");
  description.setArchitecture(system.machine);
  description.setCpuNanos(sysconf(_SC_NPROCESSORS_ONLN) * NANOS_PER_CORE);
  description.setMemoryBytes(static_cast<uint64_t>(memory.totalram) * memory.mem_unit);
  description.setEngineVersion(facts.version);
  auto labels = description.initEngineLabels(facts.labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    labels[i].setKey(facts.labels[i].key);
    labels[i].setValue(facts.labels[i].value);
  }
}

}  // namespace orch::control::agent
