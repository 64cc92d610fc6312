// What every template of Go has.
#include <cstdio>

#include "language/format.h"
#include "language/functions.h"
#include "language/rendering.h"

namespace orch::integration::templates {

namespace {

using ValueKind = Value::Kind;

// Lists, maps and structs: nothing is equal to them.
bool isWhole(const Value& value) {
  return value.is(ValueKind::LIST) || value.is(ValueKind::MAP) || value.is(ValueKind::STRUCT) ||
         value.is(ValueKind::OBJECT) || value.is(ValueKind::SPAN);
}

// Of two whole numbers, whether they have a sign or not.
int compareWhole(const Value& a, const Value& b) {
  auto negative = [](const Value& v) { return v.is(ValueKind::INT) && v.integer() < 0; };
  if (negative(a) != negative(b)) return negative(a) ? -1 : 1;
  auto x = a.asInteger(), y = b.asInteger();
  auto ux = static_cast<uint64_t>(x), uy = static_cast<uint64_t>(y);
  return ux < uy ? -1 : ux > uy ? 1 : 0;
}

bool equal(Call& call, const Value& a, const Value& b) {
  if (a.isNil() || b.isNil()) return a.isNil() == b.isNil();
  if (isWhole(a) || isWhole(b)) {
    call.wrong(std::string("a value of type ") + (isWhole(a) ? a : b).typeName() +
               " cannot be compared");
  }
  if (a.isInteger() && b.isInteger()) return compareWhole(a, b) == 0;
  if (a.kind() != b.kind()) {
    call.wrong(std::string(a.typeName()) + " and " + b.typeName() + " cannot be compared");
  }
  return a == b;
}

Value eq(Call& call) {
  if (call.size() < 2) call.wrong("an argument to compare with is missing");
  for (size_t i = 1; i < call.size(); ++i) {
    if (equal(call, call.arguments[0], call.arguments[i])) return true;
  }
  return false;
}
Value ne(Call& call) { return !equal(call, call.arguments[0], call.arguments[1]); }

bool less(Call& call, const Value& a, const Value& b) {
  if (a.isInteger() && b.isInteger()) return compareWhole(a, b) < 0;
  bool ordered = a.isNumber() || a.is(ValueKind::STRING);
  if (a.kind() != b.kind() || !ordered) {
    call.wrong(std::string(a.typeName()) + " and " + b.typeName() + " have no order");
  }
  return a.is(ValueKind::STRING) ? a.text() < b.text() : a.real() < b.real();
}
Value lt(Call& call) { return less(call, call.arguments[0], call.arguments[1]); }
Value ge(Call& call) { return !less(call, call.arguments[0], call.arguments[1]); }
bool lessOrEqual(Call& call) {
  auto& a = call.arguments[0];
  auto& b = call.arguments[1];
  return less(call, a, b) || equal(call, a, b);
}
Value le(Call& call) { return lessOrEqual(call); }
Value gt(Call& call) { return !lessOrEqual(call); }

Value negated(Call& call) { return !call.arguments[0].isTrue(); }

Value len(Call& call) {
  auto& value = call.arguments[0];
  size_t size = 0;
  if (value.is(ValueKind::STRING)) {
    size = value.text().size();
  } else if (value.is(ValueKind::LIST)) {
    size = value.items().items.size();
  } else if (value.is(ValueKind::MAP)) {
    size = value.map().entries.size();
  } else {
    call.wrong(std::string("a value of type ") + value.typeName() + " has no length");
  }
  return static_cast<int64_t>(size);
}

size_t place(Call& call, const Value& index, size_t size) {
  if (!index.isInteger())
    call.wrong(std::string("an index is a whole number, not ") + index.typeName());
  auto at = index.asInteger();
  if (at < 0 || static_cast<uint64_t>(at) >= size) {
    call.wrong("there is no index " + std::to_string(at) + ", of " + std::to_string(size));
  }
  return static_cast<size_t>(at);
}

Value entry(Call& call, const Value::Map& map, const Value& key) {
  auto find = [&](Value::Key name) {
    auto found = map.entries.find(name);
    return found == map.entries.end() ? map.none : found->second;
  };
  if (key.is(ValueKind::STRING)) return find(key.text());
  if (key.isInteger()) return find(key.asInteger());
  call.wrong(std::string("a key is a text, not ") + key.typeName());
}

Value index(Call& call) {
  Value value = call.arguments[0];
  for (size_t i = 1; i < call.size(); ++i) {
    auto& key = call.arguments[i];
    Value next;
    if (value.is(ValueKind::LIST)) {
      auto& items = value.items().items;
      next = items[place(call, key, items.size())];
    } else if (value.is(ValueKind::MAP)) {
      next = entry(call, value.map(), key);
    } else if (value.is(ValueKind::STRING)) {
      auto at = place(call, key, value.text().size());
      next = static_cast<uint64_t>(static_cast<unsigned char>(value.text()[at]));
    } else {
      call.wrong(std::string("a value of type ") + value.typeName() + " has no index");
    }
    value = std::move(next);
  }
  return value;
}

Value slice(Call& call) {
  auto& value = call.arguments[0];
  bool text = value.is(ValueKind::STRING);
  if (!text && !value.is(ValueKind::LIST)) {
    call.wrong(std::string("a value of type ") + value.typeName() + " cannot be sliced");
  }
  if (call.size() > (text ? 3 : 4)) call.wrong("there are too many indexes");
  auto size = text ? value.text().size() : value.items().items.size();
  size_t first = 0, last = size;
  if (call.size() > 1) first = place(call, call.arguments[1], size + 1);
  if (call.size() > 2) last = place(call, call.arguments[2], size + 1);
  if (call.size() > 3) place(call, call.arguments[3], size + 1);
  if (first > last) {
    call.wrong("the indexes " + std::to_string(first) + " and " + std::to_string(last) +
               " are in the wrong order");
  }
  if (text) return value.text().substr(first, last - first);
  auto& items = value.items().items;
  auto from = items.begin() + static_cast<std::ptrdiff_t>(first);
  return Value::list({from, items.begin() + static_cast<std::ptrdiff_t>(last)});
}

Value print(Call& call) { return printAll(call.arguments); }
Value println(Call& call) { return printLine(call.arguments); }
Value printf(Call& call) { return printFormat(call.text(0), std::span(call.arguments).subspan(1)); }

// What stands for a character, or nullptr.
using Escape = const char* (*)(char c);

std::string escaped(const std::string& text, Escape escape) {
  std::string out;
  for (char c : text) {
    auto* with = escape(c);
    if (with != nullptr) {
      out += with;
    } else {
      out += c;
    }
  }
  return out;
}
std::string argumentText(Call& call) {
  auto shown = call.arguments;
  for (auto& value : shown) {
    if (value.isNil()) value = printed(value);
  }
  return printAll(shown);
}

Value html(Call& call) {
  return escaped(argumentText(call), [](char c) -> const char* {
    switch (c) {
      case '\0':
        return "\uFFFD";
      case '"':
        return "&#34;";
      case '\'':
        return "&#39;";
      case '&':
        return "&amp;";
      case '<':
        return "&lt;";
      case '>':
        return "&gt;";
      default:
        return nullptr;
    }
  });
}

Value js(Call& call) {
  auto text = argumentText(call);
  std::string out;
  char buffer[8];
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '\\':
      case '\'':
      case '"':
        out += {'\\', c};
        break;
      case '<':
      case '>':
      case '&':
      case '=':
        snprintf(buffer, sizeof buffer, "\\u%04X", byte);
        out += buffer;
        break;
      default:
        if (byte < ' ') snprintf(buffer, sizeof buffer, "\\u%04X", byte);
        out += byte < ' ' ? std::string(buffer) : std::string(1, c);
    }
  }
  return out;
}

Value urlquery(Call& call) {
  std::string out;
  char buffer[4];
  for (char c : argumentText(call)) {
    auto byte = static_cast<unsigned char>(c);
    auto lower = static_cast<char>(c | 0x20);
    bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                 c == '.' || c == '~';
    if (c == ' ') {
      out += '+';
    } else if (plain) {
      out += c;
    } else {
      snprintf(buffer, sizeof buffer, "%%%02X", byte);
      out += buffer;
    }
  }
  return out;
}

Value callValue(Call& call) { call.wrong("no value of a template is a function"); }

Value executeTemplate(Call& call) {
  return call.rendering.execute(call.text(0), call.size() > 1 ? call.arguments[1] : Value());
}
Value scratchPad(Call& call) { return call.rendering.scratch(); }

constexpr Function GO_FUNCTIONS[] = {
    {"and", "a*", nullptr},
    {"or", "a*", nullptr},
    {"not", "a", negated},
    {"eq", "aa*", eq},
    {"ne", "aa", ne},
    {"lt", "aa", lt},
    {"le", "aa", le},
    {"gt", "aa", gt},
    {"ge", "aa", ge},
    {"len", "a", len},
    {"index", "aa*", index},
    {"slice", "aa*", slice},
    {"print", "a*", print},
    {"println", "a*", println},
    {"printf", "sa*", printf},
    {"html", "a*", html},
    {"js", "a*", js},
    {"urlquery", "a*", urlquery},
    {"call", "a*", callValue},
    {"executeTemplate", "sa?", executeTemplate},
    {"scratch", "", scratchPad},
};

Value asked(Call& call) { return call.world().ask(call); }

constexpr Function DATA_FUNCTIONS[] = {
    {"service", "s*", asked},      {"services", "s?", asked}, {"key", "s", asked},
    {"keyOrDefault", "ss", asked}, {"keyExists", "s", asked}, {"ls", "s", asked},
    {"safeLs", "s", asked},        {"tree", "s", asked},      {"safeTree", "s", asked},
    {"node", "s?", asked},         {"nodes", "s?", asked},    {"datacenters", "a?", asked},
    {"file", "s", asked},
};

}  // namespace

FunctionTable goFunctions() { return GO_FUNCTIONS; }
FunctionTable dataFunctions() { return DATA_FUNCTIONS; }

}  // namespace orch::integration::templates
