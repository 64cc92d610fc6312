#include "template.h"

#include <kj/vector.h>

#include <cctype>
#include <string>

#include "human.h"
#include "orch/fail.h"
#include "orch/template-syntax.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

using Row = kj::ArrayPtr<const Field>;
using Dynamic = capnp::DynamicValue::Reader;

// What an expression stands for: the row of a list, or a value of an object.
struct Value {
  Row row = nullptr;
  Dynamic value = capnp::VOID;
  bool isRow() const { return row.size() > 0; }
  capnp::DynamicValue::Type type() const { return value.getType(); }
};

// docker's names that are not those of the schema; an empty one is the object itself.
struct Alias {
  std::string_view docker;
  const char* name;
};
constexpr Alias ALIASES[] = {{"tasktemplate", "task"},
                             {"containerspec", "container"},
                             {"containerstatus", "container"},
                             {"containerid", "id"},
                             {"endpointspec", "endpoint"},
                             {"updateconfig", "update"},
                             {"updatestatus", "update"},
                             {"restartpolicy", "restart"},
                             {"publishedport", "published"},
                             {"targetport", "target"},
                             {"publishmode", "mode"},
                             {"desiredstate", "desired"},
                             {"addr", "address"},
                             {"err", "error"},
                             {"repotags", "references"},
                             {"mountpoint", "path"},
                             {"created", "createdAtNs"},
                             {"spec", ""},
                             {"status", ""},
                             {"endpoint", ""},
                             {"managerstatus", ""}};

kj::Maybe<capnp::StructSchema::Field> fieldCalled(capnp::StructSchema schema, kj::StringPtr name) {
  for (auto field : schema.getFields()) {
    if (lowerCase(field.getProto().getName()) == name) return field;
  }
  return nullptr;
}

bool isActive(capnp::DynamicStruct::Reader object, capnp::StructSchema::Field field) {
  if (field.getProto().getDiscriminantValue() == capnp::schema::Field::NO_DISCRIMINANT) return true;
  KJ_IF_MAYBE (active, object.which()) return *active == field;
  return false;
}

bool isPairs(const Value& value) {
  return value.type() == capnp::DynamicValue::LIST &&
         value.value.as<capnp::DynamicList>().getSchema().whichElementType() ==
             capnp::schema::Type::STRUCT &&
         value.value.as<capnp::DynamicList>().getSchema().getStructElementType().findFieldByName(
             "key") != nullptr;
}

// What `--format` understands.
class FormatLanguage final : public TemplateLanguage {
 public:
  using Value = cli::Value;

  explicit FormatLanguage(kj::StringPtr source) : source(source) {}

  [[noreturn]] void wrong(kj::StringPtr why) {
    fail(kj::str("usage: invalid value '", source, "' for --format: ", why));
  }
  Value text(kj::String made) { return this->made(kj::mv(made)); }
  Value number(kj::StringPtr digits) {
    return Value{nullptr, parseInteger("--format", digits, 0, INT32_MAX)};
  }
  kj::Maybe<kj::Array<Value>> items(const Value& value) {
    if (value.isRow() || value.type() != capnp::DynamicValue::LIST) return nullptr;
    return KJ_MAP(item, value.value.as<capnp::DynamicList>()) { return Value{nullptr, item}; };
  }

  Value member(const Value& of, kj::StringPtr name) {
    auto key = lowerCase(name);
    if (of.isRow()) {
      kj::Vector<kj::String> names;
      for (auto& field : of.row) {
        if (lowerCase(field.name) == key) return Value{nullptr, capnp::Text::Reader(field.text)};
        names.add(kj::str(".", field.name));
      }
      wrong(kj::str("there is no field '.", name, "'; there are ", kj::strArray(names, ", ")));
    }
    if (isPairs(of)) return pair(of, name);
    if (of.type() != capnp::DynamicValue::STRUCT) {
      if (key == "index" || key == "version") return of;  // `.Version.Index`, `.Client.Version`
      wrong(kj::str("there is no '.", name, "' in what is no object"));
    }
    auto object = of.value.as<capnp::DynamicStruct>();
    KJ_IF_MAYBE (found, field(object, key)) return *found;
    KJ_IF_MAYBE (meta, object.getSchema().findFieldByName("meta")) {
      KJ_IF_MAYBE (found, field(object.get(*meta).as<capnp::DynamicStruct>(), key)) return *found;
    }
    for (auto& alias : ALIASES) {
      if (alias.docker != view(key)) continue;
      if (alias.name[0] == '\0') return of;
      KJ_IF_MAYBE (found, field(object, lowerCase(alias.name))) return *found;
    }
    auto names = KJ_MAP(field, object.getSchema().getFields()) {
      auto text = kj::str(".", field.getProto().getName());
      text[1] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[1])));
      return text;
    };
    wrong(kj::str("there is no field '.", name, "'; there are ", kj::strArray(names, ", ")));
  }

  Value call(kj::StringPtr function, kj::ArrayPtr<const Value> values) {
    auto need = [&](size_t count) {
      if (values.size() != count) wrong(kj::str("'", function, "' takes ", count, " values"));
    };
    if (function == "println") {
      auto texts = KJ_MAP(value, values) { return textOf(value); };
      return made(kj::str(kj::strArray(texts, " "), "\n"));
    }
    if (function == "join" || function == "index" || function == "eq") {
      need(2);
      if (function == "join") return join(values[0], textOf(values[1]));
      if (function == "eq") return Value{nullptr, textOf(values[0]) == textOf(values[1])};
      return element(values[0], values[1]);
    }
    need(1);
    if (function == "json") return made(jsonOf(values[0]));
    if (function == "len") return Value{nullptr, sizeOf(values[0])};
    auto text = textOf(values[0]);
    if (function == "title") return made(capitalized(text));
    if (function == "lower") return made(lowerCase(text));
    if (function != "upper") {
      wrong(kj::str("there is no function '", function,
                    "'; there are json, join, index, len, lower, upper, title, println and eq"));
    }
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return made(kj::mv(text));
  }

  bool isTrue(const Value& value) {
    if (value.isRow() || value.type() == capnp::DynamicValue::STRUCT) return true;
    if (value.type() == capnp::DynamicValue::BOOL) return value.value.as<bool>();
    if (value.type() == capnp::DynamicValue::VOID) return false;
    auto text = textOf(value);
    return text.size() > 0 && text != "0" && text != "[]";
  }

  kj::String textOf(const Value& value) {
    if (value.isRow()) return jsonOf(value);
    switch (value.type()) {
      case capnp::DynamicValue::VOID:
        return kj::String();
      case capnp::DynamicValue::TEXT:
        return kj::str(value.value.as<capnp::Text>());
      case capnp::DynamicValue::STRUCT:
        return jsonOf(value);
      case capnp::DynamicValue::LIST: {
        auto texts = KJ_MAP(item, value.value.as<capnp::DynamicList>()) {
          return textOf(Value{nullptr, item});
        };
        return kj::str("[", kj::strArray(texts, " "), "]");
      }
      default:
        return kj::str(value.value);
    }
  }

 private:
  kj::Maybe<Value> field(capnp::DynamicStruct::Reader object, kj::StringPtr key) {
    for (auto unit : {"", "ns", "ms", "bytes", "us"}) {
      KJ_IF_MAYBE (found, fieldCalled(object.getSchema(), kj::str(key, unit))) {
        if (!isActive(object, *found)) return Value{};
        Value value{nullptr, object.get(*found)};
        bool moment = std::string_view(unit) == "ns" && value.type() == capnp::DynamicValue::INT;
        return moment ? made(timestamp(value.value.as<int64_t>())) : value;
      }
    }
    return nullptr;
  }

  Value pair(const Value& pairs, kj::StringPtr key) {
    for (auto item : pairs.value.as<capnp::DynamicList>()) {
      auto one = item.as<capnp::DynamicStruct>();
      if (one.get("key").as<capnp::Text>() == key) return Value{nullptr, one.get("value")};
    }
    return made(kj::String());
  }

  Value join(const Value& list, kj::StringPtr between) {
    if (list.type() != capnp::DynamicValue::LIST) wrong("join needs a list");
    auto texts = KJ_MAP(item, list.value.as<capnp::DynamicList>()) {
      return textOf(Value{nullptr, item});
    };
    return made(kj::str(kj::delimited(texts, between)));
  }

  Value element(const Value& of, const Value& at) {
    if (isPairs(of) && at.type() == capnp::DynamicValue::TEXT) return pair(of, textOf(at));
    if (of.type() != capnp::DynamicValue::LIST || at.type() != capnp::DynamicValue::INT) {
      wrong("index needs a list and a number, or labels and a key");
    }
    auto list = of.value.as<capnp::DynamicList>();
    auto place = at.value.as<uint32_t>();
    if (place >= list.size()) wrong(kj::str("the list has ", list.size(), " items, not ", place));
    return Value{nullptr, list[place]};
  }

  int64_t sizeOf(const Value& value) {
    if (value.type() == capnp::DynamicValue::LIST) {
      return value.value.as<capnp::DynamicList>().size();
    }
    return static_cast<int64_t>(textOf(value).size());
  }

  kj::String jsonOf(const Value& value) {
    if (!value.isRow()) return toJson(value.value);
    auto fields = KJ_MAP(field, value.row) {
      return kj::str("\"", field.name, "\":", jsonText(field.text));
    };
    return kj::str("{", kj::strArray(fields, ","), "}");
  }

  Value made(kj::String text) {
    kj::StringPtr kept = texts.add(kj::mv(text));
    return Value{nullptr, capnp::Text::Reader(kept)};
  }

  kj::StringPtr source;
  kj::Vector<kj::String> texts;  // what functions made
};

// As docker, before it is read as a template.
kj::String sourceOf(kj::StringPtr text) {
  if (text == "json") return kj::str("{{json .}}");
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == 't' || next == 'n') ++i;
    result += next == 't' ? '\t' : next == 'n' ? '\n' : text[i];
  }
  return kj::str(result.c_str());
}

}  // namespace

kj::String expandRow(kj::StringPtr text, kj::ArrayPtr<const Field> row) {
  auto source = sourceOf(text);
  FormatLanguage language(source);
  return TemplateReader<FormatLanguage>(source, language).expand(Value{row, capnp::VOID});
}

kj::String expandObject(kj::StringPtr text, capnp::DynamicStruct::Reader object) {
  auto source = sourceOf(text);
  FormatLanguage language(source);
  return TemplateReader<FormatLanguage>(source, language).expand(Value{nullptr, object});
}

}  // namespace orch::cli
