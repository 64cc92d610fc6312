// Capabilities that can be taken back.
#pragma once

#include <capnp/membrane.h>
#include <kj/refcount.h>

namespace orch {

// What came through a membrane of it fails from the moment when `ended` is broken, with its
// exception.
class Revocable final : public capnp::MembranePolicy, public kj::Refcounted {
 public:
  explicit Revocable(kj::Promise<void> ended) : ended(ended.fork()) {}
  kj::Maybe<capnp::Capability::Client> inboundCall(uint64_t, uint16_t,
                                                   capnp::Capability::Client) override {
    return nullptr;
  }
  kj::Maybe<capnp::Capability::Client> outboundCall(uint64_t, uint16_t,
                                                    capnp::Capability::Client) override {
    return nullptr;
  }
  kj::Own<capnp::MembranePolicy> addRef() override { return kj::addRef(*this); }
  kj::Maybe<kj::Promise<void>> onRevoked() override { return ended.addBranch(); }

 private:
  kj::ForkedPromise<void> ended;
};

}  // namespace orch
