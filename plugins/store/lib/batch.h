// Batches as they are checked and kept by the plugins of the kind `store`.
#pragma once

#include <capnp/serialize.h>
#include <kj/array.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "orch/schema/store.capnp.h"

namespace orch::store {

struct BatchLimits {
  uint32_t maxOps = 1024;
  uint64_t maxBytes = 4 << 20;  // of kinds, keys and values
  size_t maxKindBytes = 1024;
  size_t maxKeyBytes = 1024;
  size_t maxIdBytes = 1024;
};

// A schema::Batch as a flat message. Owned by the commit that waits and, where a store has these,
// the job that writes it and the followers' recent changes, on two threads; nobody changes it.
using FlatBatch = std::shared_ptr<const kj::Array<capnp::word>>;

// A checked copy. Throws FAILED if the batch has no id, is over the limits, names an object twice,
// or if a name is empty, too long or has a NUL in it.
FlatBatch flatten(schema::Batch::Reader batch, const BatchLimits& limits);

// Reads a flat message; `words` must stay.
class BatchReader final {
 public:
  explicit BatchReader(kj::ArrayPtr<const capnp::word> words);
  schema::Batch::Reader get() { return message.getRoot<schema::Batch>(); }

 private:
  capnp::FlatArrayMessageReader message;
};

inline std::string_view viewOf(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

}  // namespace orch::store
