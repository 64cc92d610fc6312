#include "kernel/rpc/service-proxy.h"

#include <kj/debug.h>

namespace orch::rpc {

namespace {

class ServiceProxy final : public capnp::Capability::Server {
 public:
  explicit ServiceProxy(kj::Own<ServiceTarget> target) : target(kj::mv(target)) {}

  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) override {
    return {forward(interfaceId, methodId, context), false};
  }

 private:
  kj::Promise<void> forward(uint64_t interfaceId, uint16_t methodId,
                            capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer> context) {
    KJ_IF_MAYBE (client, target->current) {
      auto params = context.getParams();
      auto request = client->typelessRequest(interfaceId, methodId, params.targetSize());
      request.set(params);
      context.releaseParams();
      context.allowCancellation();
      return context.tailCall(kj::mv(request));
    }
    return kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                         kj::str("'", target->name.c_str(), "' is not running right now"));
  }

  kj::Own<ServiceTarget> target;
};

}  // namespace

capnp::Capability::Client newServiceProxy(kj::Own<ServiceTarget> target) {
  return capnp::Capability::Client(kj::heap<ServiceProxy>(kj::mv(target)));
}

}  // namespace orch::rpc
