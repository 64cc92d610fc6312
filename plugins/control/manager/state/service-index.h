// Services by name, by published port and by network, counted up and down like usage.h's table: one
// of the state, one of the differences that a pass has made so far.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "orch/schema/objects.capnp.h"
#include "state/object.h"

namespace orch::control::manager {

// The networks of a task: `bridge` if its spec names none.
template <typename F>
void eachNetwork(schema::TaskSpec::Reader spec, F&& use) {
  if (spec.getNetworks().size() == 0) use(std::string("bridge"));
  for (auto network : spec.getNetworks()) use(text(network.getName()));
}

// The only ones to look into a spec for its number: of tasks that run, or of a job's that have to
// complete. Null: its mode has none.
kj::Maybe<uint32_t> replicasOf(schema::ServiceSpec::Reader spec);
void setReplicas(schema::ServiceSpec::Builder spec, uint32_t replicas);
// How many of these there are at a time.
kj::Maybe<uint32_t> tasksAtOnce(schema::ServiceSpec::Reader spec);
// Its tasks end, and are made in runs.
bool isJob(schema::ServiceSpec::Reader spec);
// Its slots are nodes.
bool isByNode(schema::ServiceSpec::Reader spec);

class ServiceIndex final {
 public:
  struct PortUse {
    int64_t ingress = 0;
    int64_t host = 0;
  };
  void count(schema::Service::Reader service, int sign);

  std::map<std::string, std::map<std::string, int64_t>, std::less<>> byName;  // name, id
  std::map<std::string, int64_t> global;  // id: those whose slots come and go with the nodes
  std::map<uint32_t, std::map<std::string, PortUse>> byPort;  // portKey, id
  std::map<std::string, int64_t, std::less<>> replicasByNetwork;
  std::map<std::string, std::map<std::string, int64_t>, std::less<>> byNetwork;  // name, id
  // Those that depend on the one of that name, which need not be there: name, id.
  std::map<std::string, std::map<std::string, int64_t>, std::less<>> dependents;
};

}  // namespace orch::control::manager
