#include "template.h"

#include <kj/vector.h>

#include <cctype>
#include <string>

#include "human.h"
#include "orch/fail.h"
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

struct Token {
  enum Kind { PATH, WORD, TEXT, NUMBER, PIPE, OPEN, CLOSE } kind;
  kj::String text;
  bool glued = false;  // follows the one before without a blank
};

class Expander {
 public:
  Expander(kj::StringPtr source, Value root) : source(source), root(root) {}

  kj::String expand() {
    if (block(root, true) != Stop::AT_END) wrong("an {{end}} or {{else}} has no beginning");
    out.add('\0');
    return kj::String(out.releaseAsArray());
  }

 private:
  enum class Stop { AT_END, AT_ELSE, AT_CLOSE };

  [[noreturn]] void wrong(kj::StringPtr why) {
    fail(kj::str("usage: invalid value '", source, "' for --format: ", why));
  }

  // Prints up to the end of the block, or passes over it.
  Stop block(const Value& dot, bool on) {
    for (;;) {
      auto rest = std::string_view(source.begin(), source.size()).substr(at);
      auto begin = rest.find("{{");
      auto literal = rest.substr(0, begin);
      bool trims = begin != std::string_view::npos && rest.substr(begin + 2, 2) == "- ";
      while (trims && !literal.empty() && std::isspace(static_cast<unsigned char>(literal.back())))
        literal.remove_suffix(1);
      if (on) out.addAll(kj::arrayPtr(literal.data(), literal.size()));
      if (begin == std::string_view::npos) return at = source.size(), Stop::AT_END;
      at += begin + (trims ? 4 : 2);
      auto tokens = readAction();
      if (tokens.size() == 0) continue;  // a comment
      kj::StringPtr word = tokens[0].kind == Token::WORD ? kj::StringPtr(tokens[0].text) : ""_kj;
      if (word == "end") return Stop::AT_CLOSE;
      if (word == "else") return Stop::AT_ELSE;
      if (word == "range" || word == "if") {
        nested(tokens.slice(1, tokens.size()), word == "range", dot, on);
      } else if (on) {
        out.addAll(textOf(pipeline(tokens, dot)));
      }
    }
  }

  void nested(kj::ArrayPtr<const Token> tokens, bool range, const Value& dot, bool on) {
    Value value;
    if (on) value = pipeline(tokens, dot);
    size_t begin = at;
    Stop stop = Stop::AT_END;
    bool any = on && isTrue(value);
    if (any && range) {
      if (value.isRow() || value.type() != capnp::DynamicValue::LIST) wrong("range needs a list");
      for (auto item : value.value.as<capnp::DynamicList>()) {
        at = begin;
        stop = block(Value{nullptr, item}, true);
      }
    } else {
      stop = block(dot, any);
    }
    if (stop == Stop::AT_ELSE) stop = block(dot, on && !any);
    if (stop != Stop::AT_CLOSE) wrong("an {{end}} is missing");
  }

  // The words up to `}}`.
  kj::Vector<Token> readAction() {
    kj::Vector<Token> tokens;
    bool glued = false;
    for (;; glued = true) {
      while (at < source.size() && std::isspace(static_cast<unsigned char>(source[at]))) {
        ++at;
        glued = false;
      }
      auto rest = source.slice(at);
      if (rest.startsWith("/*")) {
        auto end = std::string_view(rest.begin(), rest.size()).find("*/");
        at += end == std::string_view::npos ? rest.size() : end + 2;
        continue;
      }
      if (rest.startsWith("-}}")) {
        at += 3;
        while (at < source.size() && std::isspace(static_cast<unsigned char>(source[at]))) ++at;
        return tokens;
      }
      if (rest.startsWith("}}")) return at += 2, kj::mv(tokens);
      if (rest.size() == 0) wrong("'}}' is missing");
      tokens.add(readToken());
      tokens.back().glued = glued;
    }
  }

  Token readToken() {
    char first = source[at];
    if (first == '|' || first == '(' || first == ')') {
      ++at;
      return {first == '|' ? Token::PIPE : first == '(' ? Token::OPEN : Token::CLOSE, nullptr};
    }
    if (first == '"' || first == '`') {
      std::string text;
      for (++at; at < source.size() && source[at] != first; ++at) {
        if (source[at] == '\\' && first == '"' && at + 1 < source.size()) ++at;
        text += source[at];
      }
      if (at++ >= source.size()) wrong("a text has no end");
      return {Token::TEXT, kj::str(text.c_str())};
    }
    size_t begin = at;
    auto inWord = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '$';
    };
    while (at < source.size() && inWord(source[at])) ++at;
    auto text = kj::heapString(source.begin() + begin, at - begin);
    if (text.size() == 0) wrong(kj::str("'", first, "' is not understood"));
    bool digits = std::isdigit(static_cast<unsigned char>(first));
    auto kind = first == '.' || first == '$' ? Token::PATH : digits ? Token::NUMBER : Token::WORD;
    return {kind, kj::mv(text)};
  }

  Value pipeline(kj::ArrayPtr<const Token> tokens, const Value& dot) {
    size_t i = 0;
    auto value = commands(tokens, i, dot);
    if (i < tokens.size()) wrong("a ')' has no '('");
    return value;
  }

  // Commands that are joined by `|`: each has the value of the one before as its last argument.
  Value commands(kj::ArrayPtr<const Token> tokens, size_t& i, const Value& dot) {
    kj::Vector<Value> piped;
    for (;;) {
      if (i == tokens.size()) wrong("something is missing in {{…}}");
      kj::StringPtr function;
      if (tokens[i].kind == Token::WORD) function = tokens[i++].text;
      kj::Vector<Value> values;
      while (i < tokens.size() && tokens[i].kind != Token::PIPE && tokens[i].kind != Token::CLOSE) {
        values.add(term(tokens, i, dot));
      }
      values.addAll(piped);
      piped.clear();
      if (function == nullptr && values.size() == 0) wrong("something is missing in {{…}}");
      if (function == nullptr && values.size() != 1) wrong("one value or function is wanted");
      piped.add(function == nullptr ? values[0] : call(function, values));
      if (i == tokens.size() || tokens[i].kind == Token::CLOSE) return piped[0];
      ++i;
    }
  }

  Value term(kj::ArrayPtr<const Token> tokens, size_t& i, const Value& dot) {
    auto& token = tokens[i++];
    Value value;
    if (token.kind == Token::TEXT) return made(kj::str(token.text));
    if (token.kind == Token::NUMBER) {
      return Value{nullptr, parseInteger("--format", token.text, 0, INT32_MAX)};
    }
    if (token.kind == Token::WORD) return call(token.text, nullptr);
    if (token.kind == Token::PATH) {
      bool fromRoot = token.text.startsWith("$");
      value = walk(fromRoot ? root : dot, token.text.slice(fromRoot ? 1 : 0));
    } else {
      value = commands(tokens, i, dot);
      if (i == tokens.size()) wrong("a ')' is missing");
      ++i;
    }
    if (i < tokens.size() && tokens[i].kind == Token::PATH && tokens[i].glued) {
      value = walk(value, tokens[i++].text);
    }
    return value;
  }

  // `.Spec.Name` from `value` on; `.` is the value itself.
  Value walk(Value value, kj::StringPtr path) {
    std::string_view rest(path.begin(), path.size());
    while (rest.size() > 1) {
      rest.remove_prefix(1);
      auto name = rest.substr(0, rest.find('.'));
      rest.remove_prefix(name.size());
      value = member(value, kj::heapString(name.data(), name.size()));
    }
    return value;
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
  Value root;
  size_t at = 0;
  kj::Vector<char> out;
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
  return Expander(source, Value{row, capnp::VOID}).expand();
}

kj::String expandObject(kj::StringPtr text, capnp::DynamicStruct::Reader object) {
  auto source = sourceOf(text);
  return Expander(source, Value{nullptr, object}).expand();
}

}  // namespace orch::cli
