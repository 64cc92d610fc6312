// The frames of the event log as bytes: zstd with a checksum, one after the other. In a frame each
// event stands behind the number of its words.
#pragma once

#include <capnp/message.h>
#include <kj/function.h>

#include <optional>

namespace orch::bus {

// A serialised Event, as it is kept and sent.
using EventWords = kj::Array<capnp::word>;

// An event that is larger is not kept: with it a frame would not fit into a reader's window.
constexpr size_t MAX_EVENT_BYTES = 1 << 20;
// Of a whole frame, packed or not: a full frame and one more event, and what zstd adds at most.
constexpr size_t MAX_FRAME_BYTES = MAX_EVENT_BYTES + (128 << 10);

void addEvent(kj::Vector<kj::byte>& content, kj::ArrayPtr<const capnp::word> event);
kj::Array<kj::byte> packFrame(kj::ArrayPtr<const kj::byte> content);

struct Frame {
  size_t begin = 0;
  size_t end = 0;
  kj::Array<kj::byte> content;
};

// The first intact frame of `bytes` at or after `at`; what lies before it is damaged. Nothing if
// there is none: what is left is damaged or torn, or goes on behind `bytes`.
std::optional<Frame> nextFrame(kj::ArrayPtr<const kj::byte> bytes, size_t at);

// Calls `f` for each event of a frame's content.
void eachEvent(kj::ArrayPtr<const kj::byte> content, kj::FunctionParam<void(EventWords)> f);

}  // namespace orch::bus
