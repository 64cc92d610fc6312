// Whether a service can be what its spec says. Every refusal is one line that names the input and
// what is accepted; it begins with `usage: ` where the spec could never do.
#pragma once

#include <string>
#include <vector>

#include "orch/fail.h"
#include "state/view.h"

namespace orch::control::manager {

inline constexpr uint32_t MAX_REPLICAS = 1'000'000;
inline constexpr size_t MAX_SPEC_BYTES = 256 << 10;

// What there is to choose from, besides what the nodes say of themselves.
struct Offer {
  bool strategiesKnown = false;  // asked for only if the spec names one
  std::vector<std::string> strategies;
  size_t maxObjectBytes = MAX_SPEC_BYTES;
};

// Warnings are for what will not work now but could later.
void validateSpec(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                  std::vector<std::string>& warnings);
void checkReplicas(uint32_t replicas);
// Fails if it is none of these, naming the flag that it was given with.
void checkStrategy(kj::StringPtr flag, kj::StringPtr strategy,
                   const std::vector<std::string>& known);
// The same of a filter plugin.
void checkFilter(kj::StringPtr flag, kj::StringPtr filter, const std::vector<std::string>& known);
// [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}
void checkName(kj::StringPtr noun, kj::StringPtr name);

// Fails with `usage: …`.
template <typename... Parts>
void refuseIf(bool wrong, Parts&&... parts) {
  if (wrong) fail(kj::str("usage: ", kj::fwd<Parts>(parts)...));
}

// The parts, by what they look at.
void validateContainer(schema::TaskSpec::Reader task);
void validateMounts(schema::ContainerSpec::Reader container);
void validatePolicies(schema::ServiceSpec::Reader spec);
// What only a job can have, and what it cannot.
void validateJob(schema::ServiceSpec::Reader spec);
void validateResources(schema::Resources::Reader resources);
// Before the size of it all: a range of ports is soon typed.
void checkPortCount(schema::EndpointSpec::Reader endpoint);
void validateEndpoint(schema::ServiceSpec::Reader spec);
void validateAgainstNodes(const View& view, schema::ServiceSpec::Reader spec, const Offer& offer,
                          std::vector<std::string>& warnings);

}  // namespace orch::control::manager
