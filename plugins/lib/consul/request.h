// The JSON that consul is asked with. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::consul {

// A transaction: all of its operations or nothing. What is compared is compared before anything is
// written, in the order of the calls.
class TxnRequest final {
 public:
  // Of one transaction; a constant of consul's.
  static constexpr size_t MAX_OPS = 64;

  // The key is there, and was last changed at this index.
  TxnRequest& checkIndex(std::string_view key, uint64_t index);
  // A key that is not there yet.
  TxnRequest& create(std::string_view key, std::string_view value);
  // A key that was last changed at this index. The same value as before is no change to consul: it
  // leaves the index as it is.
  TxnRequest& replace(std::string_view key, std::string_view value, uint64_t index);
  TxnRequest& set(std::string_view key, std::string_view value);
  // Fails if the key has another index, but not if it is not there.
  TxnRequest& erase(std::string_view key, uint64_t index);
  TxnRequest& erase(std::string_view key);
  // Fails if it is not there.
  TxnRequest& get(std::string_view key);
  // All keys that begin so, in order; also none.
  TxnRequest& getTree(std::string_view prefix);
  // Sets the key and gives it to the session, which must be there; fails if another one has it.
  TxnRequest& lock(std::string_view key, std::string_view value, std::string_view session);

  size_t size() const { return count; }
  bool writes() const { return anyWrite; }
  std::string text() const { return "[" + ops + "]"; }

 private:
  void begin(const char* verb, std::string_view key);
  void addValue(std::string_view value);
  void addIndex(uint64_t index);
  TxnRequest& end();

  std::string ops;
  size_t count = 0;
  bool anyWrite = false;
};

// Whether consul keeps this key as it is: UTF-8, since JSON is, and without control characters.
bool isKey(std::string_view key);

// A session that its keys end with; whole seconds, of which consul takes 10 to 86,400. It depends
// on nothing but its renewal: by default consul ends it with the health of the agent that was
// asked.
std::string sessionRequest(std::string_view name, uint64_t ttlSeconds);

}  // namespace orch::consul
