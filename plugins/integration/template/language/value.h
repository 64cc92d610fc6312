// What a template works with: values as Go has them, as far as a template can tell. Values never
// change once they are made, and copies share what they hold.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace orch::integration::templates {

class Value;
struct Call;

// A thing with methods: `scratch`. Belongs to one rendering.
class Object {
 public:
  virtual ~Object() noexcept(false) {}
  virtual Value method(std::string_view name, Call& call) = 0;
};

class Value final {
 public:
  enum class Kind { NIL, BOOL, INT, UINT, FLOAT, STRING, LIST, MAP, STRUCT, SPAN, OBJECT };
  // Of a map: `byPort` has numbers, all others texts.
  using Key = std::variant<int64_t, std::string>;
  struct List;
  struct Map;
  struct Struct;
  // What `loop` gives: each number from `first` to before `last`.
  struct Span {
    int64_t first = 0;
    int64_t last = 0;
  };

  Value() = default;
  Value(bool value) : data(value) {}
  Value(int value) : data(int64_t{value}) {}
  Value(int64_t value) : data(value) {}
  Value(uint64_t value) : data(value) {}
  Value(double value) : data(value) {}
  Value(std::string value) : data(std::move(value)) {}
  Value(std::string_view value) : data(std::string(value)) {}
  Value(const char* value) : data(std::string(value)) {}
  Value(Span value) : data(value) {}
  Value(List value);
  Value(Map value);
  Value(Struct value);
  Value(std::shared_ptr<Object> value) : data(std::move(value)) {}
  static Value list(std::vector<Value> items);
  static Value texts(const std::vector<std::string>& items);

  Kind kind() const { return static_cast<Kind>(data.index()); }
  bool is(Kind one) const { return kind() == one; }
  bool isNil() const { return is(Kind::NIL); }
  bool isInteger() const { return is(Kind::INT) || is(Kind::UINT); }
  bool isNumber() const { return isInteger() || is(Kind::FLOAT); }

  // Of a value of that kind only.
  bool boolean() const { return std::get<bool>(data); }
  int64_t integer() const { return std::get<int64_t>(data); }
  uint64_t natural() const { return std::get<uint64_t>(data); }
  double real() const { return std::get<double>(data); }
  const std::string& text() const { return std::get<std::string>(data); }
  const List& items() const { return *std::get<std::shared_ptr<const List>>(data); }
  const Map& map() const { return *std::get<std::shared_ptr<const Map>>(data); }
  const Struct& fields() const { return *std::get<std::shared_ptr<const Struct>>(data); }
  Span span() const { return std::get<Span>(data); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data); }
  // Of whichever kind of number, as Go converts it.
  int64_t asInteger() const;
  double asReal() const;

  // What `if` takes for true: all but nil, false, zero, and what is empty.
  bool isTrue() const;
  // As Go calls it: `string`, `int`, `[]interface {}`.
  const char* typeName() const;
  // Of lists, maps and structs in each other; 0 for what holds no values.
  unsigned depth() const;
  // The same kind, and equal all through.
  bool operator==(const Value& other) const;

 private:
  // What is behind a pointer is shared by the copies of a value, in any thread, and goes with the
  // last of them. The order is that of Kind.
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string,
               std::shared_ptr<const List>, std::shared_ptr<const Map>,
               std::shared_ptr<const Struct>, Span, std::shared_ptr<Object>>
      data;
};

struct Value::List {
  std::vector<Value> items;
  bool tags = false;   // has the method `Contains`, as the tags of a service do
  unsigned depth = 0;  // is counted when it becomes a value
  bool operator==(const List& other) const { return items == other.items; }
};
struct Value::Map {
  std::map<Key, Value> entries;
  Value none;  // what stands for a key that is not there: nil, or "" where all values are texts
  unsigned depth = 0;

  const Value* find(std::string_view key) const;
  bool operator==(const Map& other) const { return entries == other.entries; }
};
// Fields that are there always, in this order.
struct Value::Struct {
  const char* type = "";  // as an error calls it
  std::vector<std::pair<const char*, Value>> fields;
  unsigned depth = 0;

  const Value* find(std::string_view name) const;
  bool operator==(const Struct& other) const;
};

}  // namespace orch::integration::templates
