// Calls of any method with any parameters, made from bytes: what a fuzzer varies are not messages,
// most of which nobody would take for a call, but calls.
#pragma once

#include <capnp/dynamic.h>
#include <kj/async.h>

#include <string>
#include <vector>

namespace orch::fuzz {

class AnyCalls final {
 public:
  // `words`: texts that mean something where the calls go, beside those that do everywhere.
  explicit AnyCalls(kj::ArrayPtr<const kj::byte> bytes, std::vector<std::string> words = {})
      : bytes(bytes), words(std::move(words)) {}

  // Something to call. What answers hand out is added, too.
  void add(capnp::DynamicCapability::Client target);
  // Sends the next call and does not wait. False if the bytes are used up.
  bool next();

 private:
  static constexpr size_t MAX_TARGETS = 32;
  static constexpr unsigned MAX_DEPTH = 8;

  uint8_t byte();
  uint64_t number();
  std::string text();
  bool sometimes() { return byte() % 3 == 0; }
  void fill(capnp::DynamicStruct::Builder target, unsigned depth);
  void set(capnp::DynamicStruct::Builder target, capnp::StructSchema::Field field, unsigned depth);
  void fill(capnp::DynamicList::Builder list, unsigned depth);
  capnp::Orphan<capnp::DynamicValue> plain(capnp::Orphanage orphanage, capnp::Type type);
  void collect(capnp::DynamicStruct::Reader answer);

  kj::ArrayPtr<const kj::byte> bytes;
  const std::vector<std::string> words;
  std::vector<capnp::DynamicCapability::Client> targets;
  std::vector<kj::Promise<void>> sent;
};

}  // namespace orch::fuzz
