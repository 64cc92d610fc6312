#include "lib/seal.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <xxhash.h>

#include <cstring>

namespace orch::store {

namespace {

constexpr char FORMAT = 1;
constexpr size_t SEAL_BYTES = 1 + sizeof(uint64_t);

uint64_t sumOf(std::string_view name, std::string_view content) {
  return XXH3_64bits_withSeed(content.data(), content.size(),
                              XXH3_64bits(name.data(), name.size()));
}

}  // namespace

std::string seal(std::string_view name, std::string_view content) {
  std::string value;
  value.reserve(SEAL_BYTES + content.size());
  uint64_t sum = sumOf(name, content);
  value.push_back(FORMAT);
  value.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
  return value.append(content);
}

std::optional<std::string_view> unseal(std::string_view name, std::string_view value) {
  if (value.size() < SEAL_BYTES || value[0] != FORMAT) return std::nullopt;
  uint64_t sum;
  memcpy(&sum, value.data() + 1, sizeof(sum));
  auto content = value.substr(SEAL_BYTES);
  if (sum != sumOf(name, content)) return std::nullopt;
  return content;
}

std::string flatRecord(schema::Batch::Reader batch, bool values) {
  capnp::MallocMessageBuilder message;
  if (values) {
    message.setRoot(batch);
  } else {
    auto record = message.initRoot<schema::Batch>();
    record.setId(batch.getId());
    auto from = batch.getOps();
    auto ops = record.initOps(from.size());
    for (uint32_t i = 0; i < from.size(); ++i) {
      ops[i].setKind(from[i].getKind());
      ops[i].setKey(from[i].getKey());
      ops[i].setExpected(from[i].getExpected());
      if (from[i].isPut()) {
        ops[i].initPut(0);
      } else {
        ops[i].setDelete();
      }
    }
  }
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes().asChars();
  return std::string(bytes.begin(), bytes.size());
}

kj::Array<capnp::word> wordsOf(std::string_view flat) {
  auto words = kj::heapArray<capnp::word>(flat.size() / sizeof(capnp::word));
  memcpy(words.begin(), flat.data(), words.asBytes().size());
  return words;
}

}  // namespace orch::store
