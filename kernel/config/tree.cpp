#include "kernel/config/tree.h"

#include <kj/string.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstdio>
#include <limits>
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

std::string tomlText(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < ' ' || byte == 0x7f) {
      char escaped[8];
      snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string tomlKey(const std::string& key) {
  bool bare = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  return bare ? key : tomlText(key);
}

std::string tomlValue(const Value& value) {
  if (auto* text = std::get_if<std::string>(&value.data)) return tomlText(*text);
  if (auto* number = std::get_if<int64_t>(&value.data)) return std::to_string(*number);
  if (auto* real = std::get_if<double>(&value.data)) return kj::str(*real).cStr();
  if (auto* flag = std::get_if<bool>(&value.data)) return *flag ? "true" : "false";
  std::string out;
  if (auto* items = std::get_if<Array>(&value.data)) {
    for (auto& item : *items) out += (out.empty() ? "" : ", ") + tomlValue(item);
    return "[" + out + "]";
  }
  for (auto& [key, item] : std::get<Table>(value.data).entries) {
    out += (out.empty() ? " " : ", ") + tomlKey(key) + " = " + tomlValue(item);
  }
  return "{" + out + " }";
}

}  // namespace orch::config
