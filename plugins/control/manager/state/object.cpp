#include "state/object.h"

#include <capnp/serialize.h>

#include "config.capnp.h"
#include "orch/schema/objects.capnp.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_TEXT = 4 << 10;
constexpr const char* NAMES[KINDS] = {"cluster", "node", "service", "request", "task"};

template <typename T>
Words copyOf(capnp::FlatArrayMessageReader& message) {
  return toWords(message.getRoot<T>());
}
}  // namespace

kj::StringPtr kindName(Kind kind) { return NAMES[static_cast<size_t>(kind)]; }

kj::Maybe<Kind> kindNamed(kj::StringPtr name) {
  for (size_t i = 0; i < KINDS; ++i) {
    if (name == NAMES[i]) return static_cast<Kind>(i);
  }
  return nullptr;
}

kj::String shortened(kj::StringPtr text) {
  if (text.size() <= MAX_TEXT) return kj::str(text);
  size_t end = MAX_TEXT;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return kj::str(text.slice(0, end), "…");
}

Words checkedWords(Kind kind, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(bytes.size() % sizeof(capnp::word) == 0, "not a whole number of words");
  auto aligned = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(aligned.begin(), bytes.begin(), bytes.size());
  capnp::FlatArrayMessageReader message(aligned);
  switch (kind) {
    case Kind::CLUSTER:
      return copyOf<schema::Cluster>(message);
    case Kind::NODE:
      return copyOf<schema::Node>(message);
    case Kind::SERVICE:
      return copyOf<schema::Service>(message);
    case Kind::REQUEST:
      return copyOf<RequestRecord>(message);
    case Kind::TASK:
      return copyOf<schema::Task>(message);
  }
  KJ_UNREACHABLE;
}

}  // namespace orch::control::manager
