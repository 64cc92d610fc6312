// For capabilities that stand for others: what they are asked is asked of those.
#pragma once

#include <capnp/capability.h>

namespace orch {

using AnyCall = capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>;

// Answers `call` with what `request` is answered with, as its own tailCall() would. That of Cap'n
// Proto 0.9 must not be used behind a membrane: when nobody waits for the call any more, and
// somebody still holds a capability of what it is to return, it reads what it has just freed.
kj::Promise<void> answerBy(AnyCall call,
                           capnp::Request<capnp::AnyPointer, capnp::AnyPointer>&& request);

// The call, made to `target`. It ends when whoever has made it no longer waits.
kj::Promise<void> handOn(capnp::Capability::Client target, uint64_t interfaceId, uint16_t methodId,
                         AnyCall call);

}  // namespace orch
