#include "kernel/config/settings.h"

#include <kj/debug.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "orch/amounts.h"
#include "orch/fail.h"

namespace orch::config {

namespace {

using capnp::DynamicList;
using capnp::DynamicStruct;
using capnp::DynamicValue;

std::string fieldNames(capnp::StructSchema schema) {
  std::string names;
  for (auto field : schema.getFields()) {
    names += (names.empty() ? "" : ", ") + std::string(field.getProto().getName().cStr());
  }
  return names.empty() ? "none: this plugin has no settings" : names;
}

bool endsWith(const std::string& text, const char* ending) {
  size_t n = strlen(ending);
  return text.size() > n && text.compare(text.size() - n, n, ending) == 0;
}

// A whole number, or a text with the unit that the key's name stands for.
int64_t wholeNumber(const Value& value, const std::string& key) {
  if (auto* number = std::get_if<int64_t>(&value.data)) return *number;
  if (auto* written = std::get_if<std::string>(&value.data)) {
    if (endsWith(key, "Ms")) {
      if (auto parsed = parseDurationMs(*written)) return *parsed;
      failAt(value, "'" + key + "' is '" + *written +
                        "'; accepted: milliseconds, or a duration such as \"10s\"");
    }
    if (endsWith(key, "Bytes")) {
      if (auto parsed = parseSizeBytes(*written)) return *parsed;
      failAt(value,
             "'" + key + "' is '" + *written + "'; accepted: bytes, or a size such as \"64m\"");
    }
  }
  failAt(value, "'" + key + "' must be a whole number, not " + value.typeName());
}

// Annotations of a number's field: sdk/schema/settings.capnp.
constexpr uint64_t LEAST_ID = 0xab91c2a90c3c0c5d;
constexpr uint64_t MOST_ID = 0xe3f5d3a6b4c8f0b1;

// What the field's schema accepts beside what its type holds.
void checkRange(const Value& value, const std::string& key, capnp::schema::Field::Reader field) {
  auto least = std::numeric_limits<int64_t>::min(), most = std::numeric_limits<int64_t>::max();
  bool limited = false;
  for (auto annotation : field.getAnnotations()) {
    bool isLeast = annotation.getId() == LEAST_ID, isMost = annotation.getId() == MOST_ID;
    limited = limited || isLeast || isMost;
    if (isLeast) least = annotation.getValue().getInt64();
    if (isMost) most = annotation.getValue().getInt64();
  }
  if (!limited) return;
  auto number = wholeNumber(value, key);
  if (number >= least && number <= most) return;
  bool open = most == std::numeric_limits<int64_t>::max();
  failAt(value, "'" + key + "' is " + std::to_string(number) + "; accepted: " +
                    (open ? "at least " + std::to_string(least)
                          : std::to_string(least) + " to " + std::to_string(most)));
}

template <typename T>
T ranged(const Value& value, const std::string& key) {
  auto number = wholeNumber(value, key);
  bool fits = std::is_signed_v<T> ? number >= static_cast<int64_t>(std::numeric_limits<T>::min())
                                  : number >= 0;
  fits = fits && (sizeof(T) == 8 || number <= static_cast<int64_t>(std::numeric_limits<T>::max()));
  if (!fits) {
    failAt(value, "'" + key + "' is " + std::to_string(number) +
                      "; accepted: " + std::to_string(std::numeric_limits<T>::min()) + " to " +
                      std::to_string(std::numeric_limits<T>::max()));
  }
  return static_cast<T>(number);
}

double realNumber(const Value& value, const std::string& key) {
  if (auto* real = std::get_if<double>(&value.data)) return *real;
  if (auto* number = std::get_if<int64_t>(&value.data)) return static_cast<double>(*number);
  failAt(value, "'" + key + "' must be a number, not " + value.typeName());
}

template <typename T>
const T& typed(const Value& value, const std::string& key, const char* wanted) {
  if (auto* found = std::get_if<T>(&value.data)) return *found;
  failAt(value, "'" + key + "' must be " + wanted + ", not " + value.typeName());
}

uint16_t enumerant(const Value& value, const std::string& key, capnp::EnumSchema type) {
  auto& written = typed<std::string>(value, key, "a text");
  std::string names;
  for (auto item : type.getEnumerants()) {
    if (item.getProto().getName() == written.c_str()) return item.getOrdinal();
    names += (names.empty() ? "" : ", ") + std::string(item.getProto().getName().cStr());
  }
  failAt(value, "'" + key + "' is '" + written + "'; accepted: " + names);
}

// Sets scalars and texts through `set`, which takes a DynamicValue.
template <typename Set>
void readScalar(const Value& value, const std::string& key, capnp::Type type, Set&& set) {
  switch (type.which()) {
    case capnp::schema::Type::BOOL:
      return set(typed<bool>(value, key, "true or false"));
    case capnp::schema::Type::INT8:
      return set(ranged<int8_t>(value, key));
    case capnp::schema::Type::INT16:
      return set(ranged<int16_t>(value, key));
    case capnp::schema::Type::INT32:
      return set(ranged<int32_t>(value, key));
    case capnp::schema::Type::INT64:
      return set(ranged<int64_t>(value, key));
    case capnp::schema::Type::UINT8:
      return set(ranged<uint8_t>(value, key));
    case capnp::schema::Type::UINT16:
      return set(ranged<uint16_t>(value, key));
    case capnp::schema::Type::UINT32:
      return set(ranged<uint32_t>(value, key));
    case capnp::schema::Type::UINT64:
      return set(ranged<uint64_t>(value, key));
    case capnp::schema::Type::FLOAT32:
    case capnp::schema::Type::FLOAT64:
      return set(realNumber(value, key));
    case capnp::schema::Type::TEXT:
      return set(capnp::Text::Reader(typed<std::string>(value, key, "a text").c_str()));
    case capnp::schema::Type::ENUM:
      return set(capnp::DynamicEnum(type.asEnum(), enumerant(value, key, type.asEnum())));
    default:
      failAt(value, "'" + key + "' has a type that a manifest cannot set");
  }
}

void readStruct(const Table& table, const std::string& where, DynamicStruct::Builder builder);

void readList(const Array& items, const std::string& key, DynamicList::Builder list) {
  auto type = list.getSchema().getElementType();
  for (uint32_t i = 0; i < items.size(); ++i) {
    if (type.isStruct()) {
      readStruct(typed<Table>(items[i], key, "a list of tables"), key, list[i].as<DynamicStruct>());
    } else {
      readScalar(items[i], key, type, [&](auto&& v) { list.set(i, DynamicValue::Reader(v)); });
    }
  }
}

void readStruct(const Table& table, const std::string& where, DynamicStruct::Builder builder) {
  for (auto& [key, value] : table.entries) {
    KJ_IF_MAYBE (field, builder.getSchema().findFieldByName(key.c_str())) {
      auto type = field->getType();
      if (type.isStruct()) {
        auto inner = builder.init(*field).template as<DynamicStruct>();
        readStruct(typed<Table>(value, key, "a table"), key, inner);
      } else if (type.isList()) {
        auto& items = typed<Array>(value, key, "a list");
        readList(items, key, builder.init(*field, items.size()).template as<DynamicList>());
      } else {
        checkRange(value, key, field->getProto());
        readScalar(value, key, type,
                   [&](auto&& v) { builder.set(*field, DynamicValue::Reader(v)); });
      }
    } else {
      failAt(value, "unknown key '" + key + "' in the settings of " + where +
                        "; accepted: " + fieldNames(builder.getSchema()));
    }
  }
}

std::string tomlValue(DynamicValue::Reader value) {
  switch (value.getType()) {
    case DynamicValue::TEXT:
      return tomlText(value.as<capnp::Text>().cStr());
    case DynamicValue::ENUM: {
      auto item = value.as<capnp::DynamicEnum>();
      KJ_IF_MAYBE (known, item.getEnumerant()) return tomlText(known->getProto().getName().cStr());
      return std::to_string(item.getRaw());
    }
    case DynamicValue::LIST: {
      std::string out = "[";
      for (auto item : value.as<DynamicList>())
        out += (out.size() > 1 ? ", " : "") + tomlValue(item);
      return out + "]";
    }
    case DynamicValue::STRUCT: {
      auto inner = value.as<DynamicStruct>();
      std::string out = "{";
      for (auto field : inner.getSchema().getFields()) {
        out += (out.size() > 1 ? ", " : " ") + std::string(field.getProto().getName().cStr()) +
               " = " + tomlValue(inner.get(field));
      }
      return out + " }";
    }
    default:
      return kj::str(value).cStr();
  }
}

kj::Array<capnp::word> wordsOf(kj::ArrayPtr<const kj::byte> content) {
  auto words = kj::heapArray<capnp::word>((content.size() + 7) / 8);
  memset(words.begin(), 0, words.asBytes().size());
  memcpy(words.begin(), content.begin(), content.size());
  return words;
}

using Nodes = std::map<uint64_t, capnp::schema::Node::Reader>;

// The type itself and those that its fields have, but none of the other schemas: they stay loaded.
void loadWithParts(capnp::SchemaLoader& loader, Nodes& nodes, uint64_t id) {
  auto found = nodes.find(id);
  if (found == nodes.end()) return;
  auto node = found->second;
  nodes.erase(found);
  loader.load(node);
  if (!node.isStruct()) return;
  for (auto field : node.getStruct().getFields()) {
    if (field.isGroup()) loadWithParts(loader, nodes, field.getGroup().getTypeId());
    if (!field.isSlot()) continue;
    auto type = field.getSlot().getType();
    while (type.isList()) type = type.getList().getElementType();
    if (type.isStruct()) loadWithParts(loader, nodes, type.getStruct().getTypeId());
    if (type.isEnum()) loadWithParts(loader, nodes, type.getEnum().getTypeId());
  }
}

}  // namespace

CompiledSchema::CompiledSchema(kj::ArrayPtr<const kj::byte> content)
    : words(wordsOf(content)), reader(words) {}

SettingsSchema::SettingsSchema(kj::ArrayPtr<const kj::byte> content, uint64_t typeId) {
  CompiledSchema compiled(content);
  Nodes nodes;
  for (auto node : compiled.root().getNodes()) nodes.emplace(node.getId(), node);
  loadWithParts(loader, nodes, typeId);
  type = loader.get(typeId).asStruct();
  for (auto source : compiled.root().getSourceInfo()) {
    if (source.getId() != typeId) continue;
    auto members = source.getMembers();
    for (auto field : type.getFields()) {
      if (field.getIndex() < members.size()) {
        commentOf[field.getProto().getName().cStr()] =
            members[field.getIndex()].getDocComment().cStr();
      }
    }
  }
}

void SettingsSchema::read(const Table& table, const std::string& pluginId,
                          capnp::MessageBuilder& message) const {
  readStruct(table, "'" + pluginId + "'", message.initRoot<DynamicStruct>(type));
}

void SettingsSchema::defaults(capnp::MessageBuilder& message) const {
  message.initRoot<DynamicStruct>(type);
}

std::string SettingsSchema::toToml(capnp::MessageBuilder& message, bool comments) const {
  auto root = message.getRoot<DynamicStruct>(type).asReader();
  std::string out;
  for (auto field : type.getFields()) {
    std::string name = field.getProto().getName().cStr();
    auto comment = commentOf.find(name);
    if (comments && comment != commentOf.end()) {
      std::string rest = comment->second;
      for (size_t begin = 0; begin < rest.size();) {
        size_t end = rest.find('\n', begin);
        if (end == std::string::npos) end = rest.size();
        out += "# " + rest.substr(begin, end - begin) + "\n";
        begin = end + 1;
      }
    }
    out += name + " = " + tomlValue(root.get(field)) + "\n";
  }
  return out;
}

}  // namespace orch::config
