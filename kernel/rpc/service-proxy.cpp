#include "kernel/rpc/service-proxy.h"

#include <kj/debug.h>

#include "orch/hand-on.h"

namespace orch::rpc {

namespace {

class ServiceProxy final : public capnp::Capability::Server {
 public:
  explicit ServiceProxy(kj::Own<ServiceTarget> target) : target(kj::mv(target)) {}

  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    KJ_IF_MAYBE (client, target->current) {
      return {handOn(*client, interfaceId, methodId, call), false};
    }
    kj::Promise<void> gone =
        kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                      kj::str("'", target->name.c_str(), "' is not running right now"));
    return {kj::mv(gone), false};
  }

 private:
  kj::Own<ServiceTarget> target;
};

}  // namespace

capnp::Capability::Client newServiceProxy(kj::Own<ServiceTarget> target) {
  return capnp::Capability::Client(kj::heap<ServiceProxy>(kj::mv(target)));
}

}  // namespace orch::rpc
