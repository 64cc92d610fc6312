// Streams for those who listen to strangers.
#pragma once

#include <capnp/serialize-async.h>
#include <kj/async-io.h>

namespace orch {

// A stream whose first byte was read already.
kj::Own<kj::AsyncIoStream> putBack(kj::byte first, kj::Own<kj::AsyncIoStream> stream);
// One that fails when more than so many bytes are to be read from it.
kj::Own<kj::AsyncIoStream> bounded(uint64_t bytes, kj::Own<kj::AsyncIoStream> stream);

// A TCP connection ends when the other host does not answer for a minute: one that lost its power
// says nothing, and who only listens would not see it.
void keepAlive(kj::AsyncIoStream& stream);

// The messages of a stream, which outlives them. `told` gets the reason when one cannot be read, as
// it is none or too long: RPC ends the connection without a word. A broken connection is no reason.
kj::Own<capnp::MessageStream> newToldMessages(kj::AsyncIoStream& stream,
                                              kj::Function<void(kj::StringPtr)> told);

}  // namespace orch
