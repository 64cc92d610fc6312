#include "language/value.h"

#include <algorithm>

namespace orch::integration::templates {

Value::Value(List value) {
  for (auto& item : value.items) value.depth = std::max(value.depth, item.depth());
  ++value.depth;
  data = std::make_shared<const List>(std::move(value));
}
Value::Value(Map value) {
  for (auto& [key, item] : value.entries) value.depth = std::max(value.depth, item.depth());
  ++value.depth;
  data = std::make_shared<const Map>(std::move(value));
}
Value::Value(Struct value) {
  for (auto& [name, item] : value.fields) value.depth = std::max(value.depth, item.depth());
  ++value.depth;
  data = std::make_shared<const Struct>(std::move(value));
}

unsigned Value::depth() const {
  switch (kind()) {
    case Kind::LIST:
      return items().depth;
    case Kind::MAP:
      return map().depth;
    case Kind::STRUCT:
      return fields().depth;
    default:
      return 0;
  }
}

Value Value::list(std::vector<Value> items) { return Value(List{std::move(items), false}); }

Value Value::texts(const std::vector<std::string>& items) {
  return list(std::vector<Value>(items.begin(), items.end()));
}

int64_t Value::asInteger() const {
  if (is(Kind::UINT)) return static_cast<int64_t>(natural());
  return is(Kind::FLOAT) ? static_cast<int64_t>(real()) : integer();
}

double Value::asReal() const {
  if (is(Kind::UINT)) return static_cast<double>(natural());
  return is(Kind::INT) ? static_cast<double>(integer()) : real();
}

bool Value::isTrue() const {
  switch (kind()) {
    case Kind::NIL:
      return false;
    case Kind::BOOL:
      return boolean();
    case Kind::INT:
      return integer() != 0;
    case Kind::UINT:
      return natural() != 0;
    case Kind::FLOAT:
      return real() != 0;
    case Kind::STRING:
      return !text().empty();
    case Kind::LIST:
      return !items().items.empty();
    case Kind::MAP:
      return !map().entries.empty();
    default:
      return true;
  }
}

const char* Value::typeName() const {
  switch (kind()) {
    case Kind::NIL:
      return "<nil>";
    case Kind::BOOL:
      return "bool";
    case Kind::INT:
      return "int";
    case Kind::UINT:
      return "uint64";
    case Kind::FLOAT:
      return "float64";
    case Kind::STRING:
      return "string";
    case Kind::LIST:
      return "[]interface {}";
    case Kind::MAP:
      return "map[string]interface {}";
    case Kind::STRUCT:
      return fields().type;
    case Kind::SPAN:
      return "<-chan int64";
    default:
      return "*template.Scratch";
  }
}

bool Value::operator==(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::LIST:
      return &items() == &other.items() || items() == other.items();
    case Kind::MAP:
      return &map() == &other.map() || map() == other.map();
    case Kind::STRUCT:
      return &fields() == &other.fields() || fields() == other.fields();
    case Kind::SPAN:
      return span().first == other.span().first && span().last == other.span().last;
    case Kind::OBJECT:
      return &object() == &other.object();
    case Kind::NIL:
      return true;
    case Kind::BOOL:
      return boolean() == other.boolean();
    case Kind::INT:
      return integer() == other.integer();
    case Kind::UINT:
      return natural() == other.natural();
    case Kind::FLOAT:
      return real() == other.real();
    case Kind::STRING:
      return text() == other.text();
  }
  return false;
}

const Value* Value::Map::find(std::string_view key) const {
  auto found = entries.find(Key(std::string(key)));
  return found == entries.end() ? nullptr : &found->second;
}

const Value* Value::Struct::find(std::string_view name) const {
  auto found =
      std::find_if(fields.begin(), fields.end(), [&](auto& field) { return name == field.first; });
  return found == fields.end() ? nullptr : &found->second;
}

bool Value::Struct::operator==(const Struct& other) const {
  return std::equal(fields.begin(), fields.end(), other.fields.begin(), other.fields.end(),
                    [](auto& a, auto& b) {
                      return std::string_view(a.first) == b.first && a.second == b.second;
                    });
}

}  // namespace orch::integration::templates
