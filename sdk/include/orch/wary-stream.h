// Streams for those who listen to strangers.
#pragma once

#include <capnp/serialize-async.h>
#include <kj/async-io.h>
#include <kj/timer.h>

namespace orch {

// A stream whose first byte was read already.
kj::Own<kj::AsyncIoStream> putBack(kj::byte first, kj::Own<kj::AsyncIoStream> stream);
// One that fails when more than so many bytes are to be read from it.
kj::Own<kj::AsyncIoStream> bounded(uint64_t bytes, kj::Own<kj::AsyncIoStream> stream);

// One whose writes fail when the other end has not taken anything for so long. `timer` outlives it.
kj::Own<kj::AsyncIoStream> impatient(kj::Timer& timer, kj::Duration limit,
                                     kj::Own<kj::AsyncIoStream> stream);

// A TCP connection ends when the other host does not answer for so long, whole seconds: one that
// lost its power says nothing, and who only listens would not see it. Nor would who has sent it
// something, for a quarter of an hour.
void keepAlive(kj::AsyncIoStream& stream, kj::Duration limit = 60 * kj::SECONDS);

// The messages of a stream, which outlives them. `told` gets the reason when one cannot be read, as
// it is none or too long, or written: RPC ends the connection without a word, or goes on reading. A
// broken connection is no reason. Nothing is read while something is written, so that answers do
// not pile up for those who ask and do not read; the other end must not do the same.
kj::Own<capnp::MessageStream> newToldMessages(kj::AsyncIoStream& stream,
                                              kj::Function<void(kj::StringPtr)> told);

}  // namespace orch
