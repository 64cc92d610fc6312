// An object of the cluster as it lies in memory and in the store: one flat Cap'n Proto message of a
// single segment. Reading it costs nothing: `as<T>()` points into the words.
#pragma once

#include <capnp/any.h>
#include <capnp/message.h>
#include <kj/array.h>
#include <kj/debug.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::control::manager {

enum class Kind : uint8_t { CLUSTER, NODE, SERVICE, REQUEST, TASK };
inline constexpr size_t KINDS = 5;
// What the store calls it.
kj::StringPtr kindName(Kind kind);
kj::Maybe<Kind> kindNamed(kj::StringPtr name);

// The words of a message: a segment table of one word, the root pointer, the content.
using Words = kj::Array<capnp::word>;

struct Object {
  Words words;
  uint64_t revision = 0;  // of the store, that wrote it last

  // Valid as long as the object. Only for words that `toWords` made.
  template <typename T>
  typename T::Reader as() const {
    return capnp::readMessageUnchecked<T>(words.begin() + 1);
  }
};

template <typename Reader>
Words toWords(Reader reader) {
  size_t size = reader.totalSize().wordCount + 1;
  auto words = kj::heapArray<capnp::word>(size + 1);
  memset(words.begin(), 0, words.asBytes().size());
  reinterpret_cast<uint32_t*>(words.begin())[1] = static_cast<uint32_t>(size);
  capnp::copyToUnchecked(reader, words.slice(1, size + 1));
  return words;
}

// Checks bytes from outside; fails if they are no message.
Words checkedWords(Kind kind, kj::ArrayPtr<const kj::byte> bytes);

// A text of others for an object: at most 4 KiB of it, cut between two characters.
kj::String shortened(kj::StringPtr text);

inline std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
inline std::string text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

}  // namespace orch::control::manager
