// What the registry hands out for a service: a capability that stays valid while the plugin behind
// it comes and goes. It forwards every call as it is.
#pragma once

#include <capnp/capability.h>

#include <string>

namespace orch::rpc {

// The plugin's side of a service, shared by the registry and all proxies.
class ServiceTarget final : public kj::Refcounted {
 public:
  explicit ServiceTarget(std::string name) : name(std::move(name)) {}

  const std::string name;
  kj::Maybe<capnp::Capability::Client> current;  // nothing while the plugin does not run
};

// A capability that forwards to `target`. Calls made while nothing is there fail with DISCONNECTED.
capnp::Capability::Client newServiceProxy(kj::Own<ServiceTarget> target);

}  // namespace orch::rpc
