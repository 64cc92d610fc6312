// The service of a backend that keeps entries below a prefix of somebody else's servers.
#pragma once

#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::discovery {

// `Backend` has watch, put and remove, as EtcdBackend has them. `where` they are, for an error: `an
// etcd`.
template <typename Backend>
class BackendServer final : public schema::Discovery::Server {
 public:
  BackendServer(kj::Own<Backend> backend, kj::StringPtr where)
      : backend(kj::mv(backend)), where(where) {}

  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    return backend->watch(context.getParams().getSink()).promise().attach(thisCap());
  }
  kj::Promise<void> register_(RegisterContext context) override {
    auto params = context.getParams();
    return backend->put(params.getEntry(), params.getTtlMs());
  }
  kj::Promise<void> unregister(UnregisterContext context) override {
    return backend->remove(context.getParams().getAddress().cStr());
  }
  kj::Promise<void> create(CreateContext) override {
    failUnimplemented(
        kj::str("a cluster needs no making in ", where, ": its prefix is as good as made"));
  }

 private:
  kj::Own<Backend> backend;
  const kj::StringPtr where;
};

}  // namespace orch::discovery
