// Frames as bytes: zstd with a checksum, one after the other. In a frame each message stands behind
// the number of its words.
#pragma once

#include <capnp/message.h>
#include <kj/function.h>

#include <optional>

namespace orch::segments {

// A message as messageToFlatArray makes it.
using MessageWords = kj::Array<capnp::word>;

// One that is larger is not kept: with it a frame would not fit into a reader's window.
constexpr size_t MAX_MESSAGE_BYTES = 1 << 20;
// Of a whole frame, packed or not: a full frame and one more message, and what zstd adds at most.
constexpr size_t MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + (128 << 10);

void addMessage(kj::Vector<kj::byte>& content, kj::ArrayPtr<const capnp::word> message);
kj::Array<kj::byte> packFrame(kj::ArrayPtr<const kj::byte> content);

struct Frame {
  size_t begin = 0;
  size_t end = 0;
  kj::Array<kj::byte> content;
};

// The first intact frame of `bytes` at or after `at`; what lies before it is damaged. Nothing if
// there is none: what is left is damaged or torn, or goes on behind `bytes`.
std::optional<Frame> nextFrame(kj::ArrayPtr<const kj::byte> bytes, size_t at);

// Calls `f` for each message of a frame's content.
void eachMessage(kj::ArrayPtr<const kj::byte> content, kj::FunctionParam<void(MessageWords)> f);

}  // namespace orch::segments
