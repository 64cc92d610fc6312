// A parsed TOML document as plain values that remember where they stood, so that every complaint
// about a setting can name file, line and key. toml++ stays inside tree.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace orch::config {

struct Value;
struct Entry;
// Keys in the order of the file.
struct Table {
  std::vector<Entry> entries;
  const Value* find(const std::string& key) const;
};
using Array = std::vector<Value>;

struct Value {
  std::variant<std::string, int64_t, double, bool, Array, Table> data;
  std::string file;
  uint32_t line = 0;

  // "a text", "a number", …: for messages.
  const char* typeName() const;
};

struct Entry {
  std::string key;
  Value value;
};

// Fails with "file:line: what is wrong" if `text` is not TOML.
Table parseToml(const std::string& text, const std::string& file);

// Throws "file:line: text".
[[noreturn]] void failAt(const Value& at, const std::string& text);

// Durations are texts with a unit: "250ms", "10s", "5m", "1h30m". Nothing if it is not one.
bool parseDurationMs(const std::string& text, uint64_t& ms);
// Sizes are texts with a unit: "512", "64k", "10m", "1g". Nothing if it is not one.
bool parseSizeBytes(const std::string& text, uint64_t& bytes);

}  // namespace orch::config
