// What the registry hands out for a service: a capability that stays valid while the plugin behind
// it comes and goes. It forwards every call as it is, measures it, and gives it the plugin's
// deadline.
#pragma once

#include <capnp/capability.h>
#include <kj/timer.h>

#include <string>

#include "kernel/rpc/call-stats.h"

namespace orch::rpc {

// The plugin's side of a service, shared by the registry and all proxies.
class ServiceTarget final : public kj::Refcounted {
 public:
  ServiceTarget(std::string name, kj::Timer& timer) : name(std::move(name)), timer(timer) {}

  const std::string name;
  kj::Timer& timer;
  kj::Maybe<capnp::Capability::Client> current;  // nothing while the plugin does not run
  CallStats* stats = nullptr;                    // of the plugin that is there now
  uint64_t deadlineMs = 30'000;
};

// A capability that forwards to `target`. Calls made while nothing is there fail with DISCONNECTED.
capnp::Capability::Client newServiceProxy(kj::Own<ServiceTarget> target);

// Whether a method of sdk/schema is marked $longRunning: such a call has no deadline.
bool isLongRunning(uint64_t interfaceId, uint16_t methodId);

}  // namespace orch::rpc
