// An object of the cluster as it lies in memory and in the store: one flat Cap'n Proto message of a
// single segment, and for tasks a second one with the status. In memory, what all tasks of one
// service and spec say alike is a third one that they share. Reading costs nothing: `as<T>()`
// points into the words.
#pragma once

#include <capnp/any.h>
#include <capnp/message.h>
#include <kj/array.h>
#include <kj/debug.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::control::manager {

// What there is to know of each stands in kind.cpp.
enum class Kind : uint8_t { CLUSTER, NODE, SERVICE, REQUEST, TASK, ADMIN, NETWORK };
inline constexpr size_t KINDS = 7;

// The words of a message: a segment table of one word, the root pointer, the content.
using Words = kj::Array<capnp::word>;

// An object as it is at one moment. Valid as long as what it points into.
struct Snapshot {
  const capnp::word* words = nullptr;   // null: there is no such object
  const capnp::word* status = nullptr;  // null: it has none, or none yet
  const capnp::word* shared = nullptr;  // null: its words are all that it says

  explicit operator bool() const { return words != nullptr; }
  // Only for words that `toWords` made.
  template <typename T>
  typename T::Reader as() const {
    return capnp::readMessageUnchecked<T>(words + 1);
  }
};

struct Object {
  Words words;
  Words status;                         // empty: none
  const capnp::word* shared = nullptr;  // what it says in the same words as others; the State's
  uint64_t revision = 0;                // of the store, that wrote the words last
  uint64_t statusRevision = 0;

  operator Snapshot() const {
    return {words.size() == 0 ? nullptr : words.begin(),
            status.size() == 0 ? nullptr : status.begin(), shared};
  }
  // The newest of both.
  uint64_t version() const { return revision > statusRevision ? revision : statusRevision; }
  // Without what it shares. Valid as long as the object.
  template <typename T>
  typename T::Reader as() const {
    return capnp::readMessageUnchecked<T>(words.begin() + 1);
  }
};

// How many words that `toWords` made these are.
inline size_t sizeOf(const capnp::word* words) {
  return reinterpret_cast<const uint32_t*>(words)[1] + 1;
}

template <typename Reader>
Words toWords(Reader reader) {
  size_t size = reader.totalSize().wordCount + 1;
  auto words = kj::heapArray<capnp::word>(size + 1);
  memset(words.begin(), 0, words.asBytes().size());
  reinterpret_cast<uint32_t*>(words.begin())[1] = static_cast<uint32_t>(size);
  capnp::copyToUnchecked(reader, words.slice(1, size + 1));
  return words;
}

inline constexpr size_t FULL_ID = 25;  // letters of an id
bool isFullId(std::string_view id);

// A text of others for an object: at most 4 KiB of it, cut between two characters.
kj::String shortened(kj::StringPtr text);

inline std::string_view view(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
inline std::string text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

}  // namespace orch::control::manager
