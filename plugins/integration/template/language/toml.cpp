#include <cmath>
#include <cstdio>

#include "language/format.h"
#include "language/notations.h"

namespace orch::integration::templates {

namespace {

bool isTable(const Value& value) {
  return value.is(Value::Kind::MAP) || value.is(Value::Kind::STRUCT);
}
bool isTableList(const Value& value) {
  return value.is(Value::Kind::LIST) && value.isTrue() && isTable(value.items().items.front());
}

std::string tomlString(std::string_view text) {
  constexpr std::string_view NAMED = "\b\t\n\f\r\"\\";
  constexpr std::string_view NAMES = "btnfr\"\\";
  std::string out = "\"";
  char buffer[8];
  for (char c : text) {
    auto known = NAMED.find(c);
    bool control = (c >= 0 && c < ' ') || c == 0x7F;
    snprintf(buffer, sizeof buffer, "\\u%04x",
             static_cast<unsigned>(static_cast<unsigned char>(c)));
    if (known != std::string_view::npos) {
      out += {'\\', NAMES[known]};
    } else {
      out += control ? std::string(buffer) : std::string(1, c);
    }
  }
  return out + '"';
}

std::string keyText(const std::string& key) {
  bool bare = !key.empty() && key.find_first_not_of(
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_-") == std::string::npos;
  return bare ? key : tomlString(key);
}

class TomlWriter final {
 public:
  explicit TomlWriter(std::string& problem) : problem(problem) {}
  std::string out;

  // What is not a table comes first: behind the header of a table all belongs to that.
  void table(const Value& value, const std::string& path, size_t depth) {
    auto entries = entriesOf(value);
    auto margin = std::string(2 * depth, ' ');
    for (auto& [key, item] : entries) {
      if (item.isNil() || isTable(item) || isTableList(item)) continue;
      out += margin + keyText(key) + " = " + plain(item) + "\n";
    }
    for (auto& [key, item] : entries) {
      auto name = path.empty() ? keyText(key) : path + "." + keyText(key);
      if (isTable(item)) {
        header(margin + "[" + name + "]");
        table(item, name, depth + 1);
      } else if (isTableList(item)) {
        for (auto& one : item.items().items) {
          if (!isTable(one)) return refuse("a list with tables and others");
          header(margin + "[[" + name + "]]");
          table(one, name, depth + 1);
        }
      }
    }
  }

 private:
  void header(const std::string& line) { out += (out.empty() ? "" : "\n") + line + "\n"; }
  void refuse(const char* what) {
    if (problem.empty()) problem = std::string(what) + " cannot be written as TOML";
  }
  std::string plain(const Value& value) {
    switch (value.kind()) {
      case Value::Kind::STRING:
        return tomlString(value.text());
      case Value::Kind::FLOAT: {
        if (std::isnan(value.real())) return "nan";
        if (std::isinf(value.real())) return value.real() < 0 ? "-inf" : "inf";
        auto text = realText(value.real(), 'f', -1);
        return text.find('.') == std::string::npos ? text + ".0" : text;
      }
      case Value::Kind::LIST: {
        std::string list;
        for (auto& item : value.items().items) {
          if (isTable(item) || item.isNil()) refuse("a list with tables and others");
          if (!problem.empty()) return {};
          list += (list.empty() ? "" : ", ") + plain(item);
        }
        return "[" + list + "]";
      }
      case Value::Kind::BOOL:
      case Value::Kind::INT:
      case Value::Kind::UINT:
        return plainText(value);
      default:
        refuse(value.typeName());
        return {};
    }
  }
  std::string& problem;
};

}  // namespace

std::string tomlText(const Value& value, std::string& problem) {
  if (!isTable(value)) {
    problem = std::string(value.typeName()) + " cannot be written as TOML: it is no map";
    return {};
  }
  TomlWriter writer(problem);
  writer.table(value, "", 0);
  while (writer.out.ends_with('\n')) writer.out.pop_back();
  return std::move(writer.out);
}

}  // namespace orch::integration::templates
