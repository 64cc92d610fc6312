#include "lib/batch.h"

#include <capnp/message.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "orch/fail.h"

namespace orch::store {

namespace {

void checkName(kj::StringPtr what, kj::StringPtr name, size_t most, kj::StringPtr batchId) {
  bool bad =
      name.size() == 0 || name.size() > most || memchr(name.begin(), '\0', name.size()) != nullptr;
  if (!bad) return;
  fail(kj::str("batch '", batchId, "' has a ", what, " of ", name.size(), " bytes; 1 to ", most,
               " without a zero byte are accepted"));
}

capnp::ReaderOptions withoutTraversalLimit() {
  capnp::ReaderOptions options;  // the batch's size was checked
  options.traversalLimitInWords = UINT64_MAX;
  return options;
}

}  // namespace

FlatBatch flatten(schema::Batch::Reader batch, const BatchLimits& limits) {
  auto id = batch.getId();
  auto ops = batch.getOps();
  checkName("batch id", id, limits.maxIdBytes, id);
  if (ops.size() > limits.maxOps) {
    fail(kj::str("batch '", id, "' has ", ops.size(), " changes; this store takes at most ",
                 limits.maxOps, " at once"));
  }
  uint64_t bytes = 0;
  std::vector<std::pair<std::string_view, std::string_view>> names;
  for (auto op : ops) {
    checkName("kind", op.getKind(), limits.maxKindBytes, id);
    checkName("key", op.getKey(), limits.maxKeyBytes, id);
    bytes += op.getKind().size() + op.getKey().size() + (op.isPut() ? op.getPut().size() : 0);
    names.emplace_back(viewOf(op.getKind()), viewOf(op.getKey()));
  }
  if (bytes > limits.maxBytes) {
    fail(kj::str("batch '", id, "' has ", bytes, " bytes; this store takes at most ",
                 limits.maxBytes, " at once"));
  }
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    fail(kj::str("batch '", id, "' changes '", twice->first.data(), "/", twice->second.data(),
                 "' twice; one change per object is accepted"));
  }
  capnp::MallocMessageBuilder message(batch.totalSize().wordCount + 8);
  message.setRoot(batch);
  return std::make_shared<const kj::Array<capnp::word>>(capnp::messageToFlatArray(message));
}

BatchReader::BatchReader(kj::ArrayPtr<const capnp::word> words)
    : message(words, withoutTraversalLimit()) {}

}  // namespace orch::store
