// A node in virtual time: the real kernel with the real manager, agent, scheduler and store, and
// tasks of runtime.sim. Its disk for SQLite is a folder of the test's own; everything else is in
// memory.
#pragma once

#include <string>

#include "kernel/kernel.h"
#include "orch/schema/cluster.capnp.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::testing {

class SimulatedNode final {
 public:
  // `folder` outlives the node and may hold what an earlier node left.
  SimulatedNode(VirtualWorld& world, const TestFolder& folder);
  ~SimulatedNode() noexcept(false);

  schema::ClusterControl::Client cluster();
  // A service whose tasks are scripted by `env` (see runtime.sim).
  void createService(kj::StringPtr name, uint32_t replicas,
                     std::initializer_list<kj::StringPtr> env);
  void scale(kj::StringPtr name, uint32_t replicas);
  uint32_t running(kj::StringPtr name);
  // Every event so far, as topic and subject, from the event log.
  kj::Array<kj::byte> eventLog();

  Kernel kernel;

 private:
  static config::Manifest manifest(const TestFolder& folder);
  static plugin::PluginPlaces places();
  VirtualWorld& world;
};

}  // namespace orch::testing
