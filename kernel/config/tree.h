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

// As TOML: a quoted text, and any value; tables stand in braces.
std::string tomlText(const std::string& text);
std::string tomlValue(const Value& value);
// A key, in quotes if it needs them.
std::string tomlKey(const std::string& key);

}  // namespace orch::config
