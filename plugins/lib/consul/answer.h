// What consul answers, read from its JSON. Pure. Whatever the text is, the answer is a value or
// FAILED with a text that begins with "answers ".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace orch::consul {

struct KeyValue {
  std::string key;
  std::string value;
  std::string session;       // that holds it; empty: none
  uint64_t modifyIndex = 0;  // of consul's log: all that a transaction writes has the same one
};

// Why one operation of a transaction does not hold.
struct OpError {
  size_t index = 0;  // of the operation
  std::string what;

  // The key is not there, is there, or has another index: what a condition is about. Else consul
  // refuses the operation for another reason.
  bool isCondition() const;
  bool isMissing() const;
};

struct TxnAnswer {
  // Of those that write, without the value; of a `get-tree` any number.
  std::vector<KeyValue> results;
  // Not empty: nothing was done. All of those that do not hold are listed.
  std::vector<OpError> errors;

  const OpError* errorAt(size_t index) const;
  // The key's result, or nullptr.
  const KeyValue* of(std::string_view key) const;
};

TxnAnswer readTxn(std::string_view json);
// Of a question for keys.
std::vector<KeyValue> readKeys(std::string_view json);
// Of one for their names alone.
std::vector<std::string> readNames(std::string_view json);
// Of one for a new session: its id.
std::string readSession(std::string_view json);
// The header X-Consul-Index.
uint64_t readIndex(std::string_view text);

}  // namespace orch::consul
