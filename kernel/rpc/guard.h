// Stands around one run of a plugin. Whichever of its capabilities a call into it comes through (a
// service, what a service has returned, a sink that it gave to others), the call is measured, has
// the plugin's deadline unless its method is $longRunning, and ends with the plugin.
#pragma once

#include <capnp/membrane.h>
#include <kj/timer.h>

#include <string>

#include "kernel/rpc/call-stats.h"
#include "kernel/rpc/method-table.h"

namespace orch::rpc {

// Whether an error of a plugin in a process came over its connection, or is one of the connection.
bool saidByPlugin(const kj::Exception& exception);

// Lives on the loop's thread, as long as the last capability that came through it; `timer`,
// `methods` and `stats` outlive that.
class Guard final : public capnp::MembranePolicy, public kj::Refcounted {
 public:
  struct Plugin {
    std::string id;
    bool isolated = false;
    uint64_t deadlineMs = 30'000;
  };
  Guard(Plugin plugin, kj::Timer& timer, const MethodTable& methods, CallStats& stats);

  // The plugin's side of `inside`, as others get it. Calls of schema::Plugin, its life cycle, pass.
  template <typename Client>
  Client around(Client inside) {
    return capnp::membrane(kj::mv(inside), addRef());
  }
  // All that has come through it is cut off: calls in flight fail with DISCONNECTED and `reason`,
  // later ones too. What holds objects of the plugin through it lets them go. The first one counts.
  void end(kj::StringPtr reason);

  kj::Maybe<capnp::Capability::Client> inboundCall(uint64_t interfaceId, uint16_t methodId,
                                                   capnp::Capability::Client target) override;
  kj::Maybe<capnp::Capability::Client> outboundCall(uint64_t, uint16_t,
                                                    capnp::Capability::Client) override {
    return nullptr;
  }
  kj::Own<capnp::MembranePolicy> addRef() override { return kj::addRef(*this); }
  kj::Maybe<kj::Promise<void>> onRevoked() override { return ending.addBranch(); }
  // A promise may never be kept by a plugin that hangs.
  bool shouldResolveBeforeRedirecting() override { return false; }

 private:
  class Passage;
  using CallContext = capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>;
  kj::Promise<void> pass(capnp::Capability::Client target, uint64_t interfaceId, uint16_t methodId,
                         CallContext context);
  kj::Exception gone(kj::StringPtr when) const;

  const Plugin plugin;
  kj::Timer& timer;
  const MethodTable& methods;
  CallStats& stats;
  bool passing = false;  // the call that is being made has been seen
  kj::Maybe<kj::String> endedBecause;
  kj::PromiseFulfillerPair<void> stop = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> ending = stop.promise.fork();
};

}  // namespace orch::rpc
