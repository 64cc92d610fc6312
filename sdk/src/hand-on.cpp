#include "orch/hand-on.h"

namespace orch {

namespace {

// A context keeps its hook to itself. An explicit instantiation may name a private member.
template <capnp::CallContextHook* AnyCall::*member>
struct HookOf {
  friend capnp::CallContextHook* hookOf(AnyCall& call) { return call.*member; }
};
capnp::CallContextHook* hookOf(AnyCall& call);
template struct HookOf<&AnyCall::hook>;

}  // namespace

// What waits for the pipeline of the tail call forgets the call's own result first, and with it, if
// nobody else does, lets go of the context that it is about to ask. Upstream has it hold the
// context since 1.0 (capnproto commit 88a92272). All that follows from a tail call follows before
// the next event of the loop, for which the context is held here.
kj::Promise<void> answerBy(AnyCall call,
                           capnp::Request<capnp::AnyPointer, capnp::AnyPointer>&& request) {
  auto held = hookOf(call)->addRef();
  kj::evalLater([held = kj::mv(held)]() {}).detach([](kj::Exception&&) {});
  return call.tailCall(kj::mv(request));
}

kj::Promise<void> handOn(capnp::Capability::Client target, uint64_t interfaceId, uint16_t methodId,
                         AnyCall call) {
  auto params = call.getParams();
  auto request = target.typelessRequest(interfaceId, methodId, params.targetSize());
  request.set(params);
  call.releaseParams();
  call.allowCancellation();
  return answerBy(call, kj::mv(request));
}

}  // namespace orch
