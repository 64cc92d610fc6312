// For tests: the connection from one host to another.
#pragma once

#include <capnp/membrane.h>
#include <kj/debug.h>

#include "orch/hand-on.h"

namespace orch::control::manager {

// All that goes through it ends with it, and arrives later if it is delayed.
class TestWire final : public capnp::MembranePolicy, public kj::Refcounted {
 public:
  void cut() {
    over = true;
    end.fulfiller->reject(KJ_EXCEPTION(DISCONNECTED, "the connection is lost"));
  }
  bool isCut() const { return over; }
  void delay() {
    delayed = true;
    arriving = kj::newPromiseAndFulfiller<void>();
    arrived = arriving.promise.fork();
  }
  void deliver() {
    delayed = false;
    arriving.fulfiller->fulfill();
  }

  kj::Maybe<capnp::Capability::Client> inboundCall(uint64_t, uint16_t,
                                                   capnp::Capability::Client target) override {
    if (!delayed) return nullptr;
    return later(capnp::membrane(kj::mv(target), addRef()));
  }
  kj::Maybe<capnp::Capability::Client> outboundCall(uint64_t, uint16_t,
                                                    capnp::Capability::Client target) override {
    if (!delayed) return nullptr;
    return later(capnp::reverseMembrane(kj::mv(target), addRef()));
  }
  kj::Own<capnp::MembranePolicy> addRef() override { return kj::addRef(*this); }
  kj::Maybe<kj::Promise<void>> onRevoked() override { return ended.addBranch(); }
  bool shouldResolveBeforeRedirecting() override { return false; }

 private:
  capnp::Capability::Client later(capnp::Capability::Client target) {
    return arrived.addBranch()
        .exclusiveJoin(ended.addBranch())
        .then([target = kj::mv(target)]() mutable { return kj::mv(target); });
  }

  bool delayed = false;
  bool over = false;
  kj::PromiseFulfillerPair<void> arriving = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> arrived = arriving.promise.fork();
  kj::PromiseFulfillerPair<void> end = kj::newPromiseAndFulfiller<void>();
  kj::ForkedPromise<void> ended = end.promise.fork();
};

// As the kernel has it: the connection ends with the port that somebody has reached.
class TestReached final : public capnp::Capability::Server {
 public:
  TestReached(kj::Own<TestWire> wire, capnp::Capability::Client port)
      : wire(kj::mv(wire)), port(kj::mv(port)) {}
  ~TestReached() noexcept(false) { wire->cut(); }
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    return {handOn(port, interfaceId, methodId, call), false};
  }

 private:
  kj::Own<TestWire> wire;
  capnp::Capability::Client port;
};

inline capnp::Capability::Client reachBy(kj::Own<TestWire> wire, capnp::Capability::Client port) {
  auto through = capnp::membrane(kj::mv(port), wire->addRef());
  return kj::heap<TestReached>(kj::mv(wire), kj::mv(through));
}

}  // namespace orch::control::manager
