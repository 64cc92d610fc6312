#include "kernel/config/tree.h"

#include <kj/string.h>
#include <toml++/toml.h>

#include <sstream>

#include "orch/fail.h"

namespace orch::config {

namespace {

Value convert(const toml::node& node, const std::string& file) {
  Value value;
  value.file = file;
  value.line = node.source().begin.line;
  if (auto* text = node.as_string()) {
    value.data = text->get();
  } else if (auto* number = node.as_integer()) {
    value.data = number->get();
  } else if (auto* real = node.as_floating_point()) {
    value.data = real->get();
  } else if (auto* flag = node.as_boolean()) {
    value.data = flag->get();
  } else if (auto* array = node.as_array()) {
    Array items;
    for (auto& item : *array) items.push_back(convert(item, file));
    value.data = std::move(items);
  } else if (auto* table = node.as_table()) {
    Table entries;
    for (auto&& [key, item] : *table) {
      entries.entries.push_back(Entry{std::string(key.str()), convert(item, file)});
    }
    value.data = std::move(entries);
  } else {
    std::ostringstream type;
    type << node.type();
    failAt(value, "a " + type.str() + " cannot be used here; write it as a text");
  }
  return value;
}

}  // namespace

const Value* Table::find(const std::string& key) const {
  for (auto& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

const char* Value::typeName() const {
  static constexpr const char* NAMES[] = {"a text",        "a whole number", "a number",
                                          "true or false", "a list",         "a table"};
  return NAMES[data.index()];
}

void failAt(const Value& at, const std::string& text) {
  fail(kj::str(at.file.c_str(), ":", at.line, ": ", text.c_str()));
}

Table parseToml(const std::string& text, const std::string& file) {
  toml::table parsed;
  try {
    parsed = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    fail(kj::str(file.c_str(), ":", error.source().begin.line,
                 ": not valid TOML: ", std::string(error.description()).c_str()));
  }
  auto root = convert(parsed, file);
  return std::get<Table>(std::move(root.data));
}

bool parseDurationMs(const std::string& text, uint64_t& ms) {
  uint64_t total = 0;
  size_t i = 0;
  if (text.empty()) return false;
  while (i < text.size()) {
    uint64_t number = 0;
    size_t digits = 0;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9' && digits < 12) {
      number = number * 10 + (text[i++] - '0');
      ++digits;
    }
    if (digits == 0) return false;
    size_t unitBegin = i;
    while (i < text.size() && text[i] >= 'a' && text[i] <= 'z') ++i;
    auto unit = text.substr(unitBegin, i - unitBegin);
    uint64_t factor = unit == "ms"  ? 1
                      : unit == "s" ? 1000
                      : unit == "m" ? 60'000
                      : unit == "h" ? 3'600'000
                                    : 0;
    if (factor == 0) return false;
    total += number * factor;
  }
  ms = total;
  return true;
}

bool parseSizeBytes(const std::string& text, uint64_t& bytes) {
  uint64_t number = 0;
  size_t i = 0;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9' && i < 15) {
    number = number * 10 + (text[i++] - '0');
  }
  if (i == 0) return false;
  auto unit = text.substr(i);
  int shift = unit.empty() || unit == "b" ? 0
              : unit == "k"               ? 10
              : unit == "m"               ? 20
              : unit == "g"               ? 30
                                          : -1;
  if (shift < 0) return false;
  bytes = number << shift;
  return true;
}

}  // namespace orch::config
