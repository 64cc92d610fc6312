#include "language/json.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>

#include "language/format.h"
#include "language/lexer.h"

namespace orch::integration::templates {

namespace {

using Json = nlohmann::json;

constexpr size_t MOST_JSON_DEPTH = 100;
// Beyond these Go writes numbers with an exponent.
constexpr double SMALL_NUMBER = 1e-6;
constexpr double LARGE_NUMBER = 1e21;

// Makes values while the text is read, without a tree in between.
class Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(std::string& problem) : problem(problem) {}
  Value result() { return std::move(root); }

  bool null() override { return put(Value()); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool key(string_t& value) override {
    stack.back().key = std::move(value);
    return true;
  }
  bool end_object() override {
    Value::Map map = std::move(stack.back().map);
    stack.pop_back();
    return put(std::move(map));
  }
  bool end_array() override {
    auto items = std::move(stack.back().items);
    stack.pop_back();
    return put(Value::list(std::move(items)));
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = "no JSON: what is at byte " + std::to_string(position) + " does not belong there";
    return false;
  }

 private:
  struct Open {
    bool list = false;
    std::string key;
    std::vector<Value> items;
    Value::Map map;
  };
  bool open(bool list) {
    if (stack.size() == MOST_JSON_DEPTH) {
      problem = "JSON with too many lists and maps in each other";
      return false;
    }
    stack.push_back({list, {}, {}, {}});
    return true;
  }
  bool put(Value value) {
    if (stack.empty()) {
      root = std::move(value);
    } else if (stack.back().list) {
      stack.back().items.push_back(std::move(value));
    } else {
      stack.back().map.entries[stack.back().key] = std::move(value);
    }
    return true;
  }

  std::string& problem;
  std::vector<Open> stack;
  Value root;
};

std::string realJson(double value) {
  auto size = std::fabs(value);
  bool exponent = value != 0 && (size < SMALL_NUMBER || size >= LARGE_NUMBER);
  auto text = realText(value, exponent ? 'e' : 'f', -1);
  auto zero = text.find("e-0");
  if (zero != std::string::npos) text.erase(zero + 2, 1);
  return text;
}

class Writer final {
 public:
  explicit Writer(JsonStyle style) : style(style) {}
  std::string out;

  void write(const Value& value, unsigned depth) {
    switch (value.kind()) {
      case Value::Kind::NIL:
      case Value::Kind::SPAN:
      case Value::Kind::OBJECT:
        out += "null";
        break;
      case Value::Kind::FLOAT:
        out += std::isfinite(value.real()) ? realJson(value.real()) : "null";
        break;
      case Value::Kind::STRING:
        text(value.text());
        break;
      case Value::Kind::LIST:
        list(value.items(), depth);
        break;
      case Value::Kind::MAP:
        map(value.map(), depth);
        break;
      case Value::Kind::STRUCT:
        fields(value.fields(), depth);
        break;
      default:
        out += plainText(value);
    }
  }

 private:
  void begin(unsigned depth) {
    if (style.pretty) out += "\n" + std::string(size_t{2} * depth, ' ');
  }
  void list(const Value::List& list, unsigned depth) {
    out += '[';
    bool first = true;
    for (auto& item : list.items) {
      if (!first) out += ',';
      first = false;
      begin(depth + 1);
      write(item, depth + 1);
    }
    if (!first) begin(depth);
    out += ']';
  }
  void entry(bool& first, const std::string& name, const Value& value, unsigned depth) {
    if (!first) out += ',';
    first = false;
    begin(depth + 1);
    text(name);
    out += style.pretty ? ": " : ":";
    write(value, depth + 1);
  }
  void map(const Value::Map& map, unsigned depth) {
    out += '{';
    bool first = true;
    for (auto& [key, value] : map.entries) {
      auto* number = std::get_if<int64_t>(&key);
      entry(first, number ? std::to_string(*number) : std::get<std::string>(key), value, depth);
    }
    if (!first) begin(depth);
    out += '}';
  }
  void fields(const Value::Struct& fields, unsigned depth) {
    out += '{';
    bool first = true;
    for (auto& [name, value] : fields.fields) entry(first, name, value, depth);
    if (!first) begin(depth);
    out += '}';
  }
  void text(std::string_view text) {
    out += '"';
    for (size_t at = 0; at < text.size();) {
      auto rune = runeAt(text.substr(at));
      character(rune, text.substr(at, rune.bytes));
      at += rune.bytes;
    }
    out += '"';
  }
  void character(Rune rune, std::string_view bytes) {
    constexpr std::string_view NAMED = "\"\\\n\r\t";
    constexpr std::string_view NAMES = "\"\\nrt";
    bool html = style.escapesHtml && (rune.code == '<' || rune.code == '>' || rune.code == '&');
    bool line = rune.code == 0x2028 || rune.code == 0x2029;
    bool damaged = rune.code == 0xFFFD && rune.bytes == 1;
    auto named = bytes.size() == 1 ? NAMED.find(bytes[0]) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out += {'\\', NAMES[named]};
    } else if (html || line || damaged || rune.code < ' ') {
      char buffer[8];
      snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(rune.code));
      out += buffer;
    } else {
      out += bytes;
    }
  }
  JsonStyle style;
};

}  // namespace

Value parseJson(std::string_view text, std::string& problem) {
  Reader reader(problem);
  bool good = Json::sax_parse(text.begin(), text.end(), &reader);
  if (!good && problem.empty()) problem = "no JSON";
  return good ? reader.result() : Value();
}

std::string jsonText(const Value& value, JsonStyle style) {
  Writer writer(style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace orch::integration::templates
