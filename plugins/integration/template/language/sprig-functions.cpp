// Functions of sprig that are common in templates, under the names that consul-template gives them.
#include <algorithm>

#include "language/cases.h"
#include "language/format.h"
#include "language/numbers.h"
#include "language/rendering.h"

namespace orch::integration::templates {

namespace {

constexpr size_t MOST_REPEATED_BYTES = 16 << 20;

std::string textOfArgument(Call& call, size_t index) { return plainText(call.arguments[index]); }

Value sprigUpper(Call& call) { return raised(call.text(0)); }
Value sprigLower(Call& call) { return lowered(call.text(0)); }
Value sprigTitle(Call& call) { return titled(call.text(0)); }
Value sprigTrim(Call& call) { return stripped(call.text(0)); }
Value sprigTrimAll(Call& call) { return trimmed(call.text(1), call.text(0), true, true); }
Value sprigNospace(Call& call) {
  std::string out = call.text(0);
  std::erase_if(out, [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
  return out;
}
Value sprigRepeat(Call& call) {
  auto count = call.integer(0);
  auto size = call.text(1).size();
  if (count < 0) call.wrong("the number of times is less than 0");
  bool much = size > 0 && static_cast<uint64_t>(count) > MOST_REPEATED_BYTES / size;
  if (much) call.wrong("it makes too much text");
  call.rendering.charge(size * static_cast<size_t>(count));
  std::string out;
  for (int64_t i = 0; size > 0 && i < count; ++i) out += call.text(1);
  return out;
}
// Places count characters.
size_t bytesBefore(const std::string& text, int64_t runes) {
  size_t at = 0;
  for (int64_t i = 0; i < runes && at < text.size(); ++i) {
    at += runeAt(std::string_view(text).substr(at)).bytes;
  }
  return at;
}
int64_t runesIn(const std::string& text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    at += runeAt(std::string_view(text).substr(at)).bytes;
  }
  return count;
}
Value sprigTrunc(Call& call) {
  auto count = call.integer(0);
  auto& text = call.text(1);
  if (count >= 0) return text.substr(0, bytesBefore(text, count));
  auto all = runesIn(text);
  return text.substr(bytesBefore(text, std::max<int64_t>(0, all + std::max(count, -all))));
}
Value sprigSubstr(Call& call) {
  auto first = std::max<int64_t>(0, call.integer(0));
  auto& text = call.text(2);
  auto begin = bytesBefore(text, first);
  auto end = call.integer(1) < first ? text.size() : bytesBefore(text, call.integer(1));
  return text.substr(begin, end - begin);
}
Value sprigHasPrefix(Call& call) { return call.text(1).starts_with(call.text(0)); }
Value sprigHasSuffix(Call& call) { return call.text(1).ends_with(call.text(0)); }
Value sprigContains(Call& call) { return isIn(call.arguments[1], call.arguments[0]); }

std::string inQuotes(Call& call, char quote) {
  std::string out;
  for (size_t i = 0; i < call.size(); ++i) {
    if (call.arguments[i].isNil()) continue;
    auto text = textOfArgument(call, i);
    Value one[] = {Value(text)};
    if (!out.empty()) out += ' ';
    out += quote == '"' ? printFormat("%q", one) : quote + text + quote;
  }
  return out;
}
Value sprigQuote(Call& call) { return inQuotes(call, '"'); }
Value sprigSquote(Call& call) { return inQuotes(call, '\''); }
Value sprigCat(Call& call) {
  std::string out;
  for (size_t i = 0; i < call.size(); ++i) {
    if (call.arguments[i].isNil()) continue;
    out += (out.empty() ? "" : " ") + textOfArgument(call, i);
  }
  return out;
}
std::string indented(Call& call) {
  auto spaces = call.integer(0);
  if (spaces < 0) call.wrong("the number of spaces is less than 0");
  std::string out;
  auto pad = [&] {
    call.rendering.charge(static_cast<size_t>(spaces));
    out.append(static_cast<size_t>(spaces), ' ');
  };
  pad();
  for (char c : call.text(1)) {
    out += c;
    if (c == '\n') pad();
  }
  return out;
}
Value sprigIndent(Call& call) { return indented(call); }
Value sprigNindent(Call& call) { return "\n" + indented(call); }

Value sprigDefault(Call& call) {
  bool given = call.size() > 1 && call.arguments[1].isTrue();
  return given ? call.arguments[1] : call.arguments[0];
}
Value sprigEmpty(Call& call) { return !call.arguments[0].isTrue(); }
Value sprigCoalesce(Call& call) {
  for (auto& value : call.arguments) {
    if (value.isTrue()) return value;
  }
  return Value();
}
Value sprigTernary(Call& call) {
  if (!call.arguments[2].is(Value::Kind::BOOL)) call.wrong("the last argument is true or false");
  return call.arguments[call.arguments[2].boolean() ? 0 : 1];
}
Value sprigToString(Call& call) { return textOfArgument(call, 0); }

Value sprigList(Call& call) { return Value::list(call.arguments); }
Value sprigDict(Call& call) {
  Value::Map map;
  for (size_t i = 0; i < call.size(); i += 2) {
    map.entries[textOfArgument(call, i)] = i + 1 < call.size() ? call.arguments[i + 1] : Value("");
  }
  return map;
}
Value sprigGet(Call& call) {
  auto* found = call.arguments[0].map().find(call.text(1));
  return found != nullptr ? *found : Value("");
}
Value sprigHasKey(Call& call) { return call.arguments[0].map().find(call.text(1)) != nullptr; }
Value sprigKeys(Call& call) {
  std::vector<Value> keys;
  for (auto& [key, value] : call.arguments[0].map().entries) {
    auto* number = std::get_if<int64_t>(&key);
    keys.push_back(number ? Value(*number) : Value(std::get<std::string>(key)));
  }
  return Value::list(std::move(keys));
}
Value sprigFirst(Call& call) {
  auto& items = call.arguments[0].items().items;
  return items.empty() ? Value() : items.front();
}
Value sprigLast(Call& call) {
  auto& items = call.arguments[0].items().items;
  return items.empty() ? Value() : items.back();
}
Value sprigRest(Call& call) {
  auto& items = call.arguments[0].items().items;
  if (items.empty()) return Value();
  return Value::list({items.begin() + 1, items.end()});
}
Value sprigUniq(Call& call) {
  std::vector<Value> kept;
  for (auto& item : call.arguments[0].items().items) {
    call.rendering.charge(kept.size());
    if (std::find(kept.begin(), kept.end(), item) == kept.end()) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}
Value sprigSortAlpha(Call& call) {
  std::vector<std::string> texts;
  for (auto& item : call.arguments[0].items().items) texts.push_back(plainText(item));
  std::sort(texts.begin(), texts.end());
  return Value::texts(texts);
}
Value sprigJoin(Call& call) {
  std::string out;
  bool first = true;
  for (auto& item : call.arguments[1].items().items) {
    auto text = plainText(item);
    call.rendering.charge(text.size() + call.text(0).size());
    out += (first ? "" : call.text(0)) + text;
    first = false;
  }
  return out;
}
Value sprigHas(Call& call) { return isIn(call.arguments[1], call.arguments[0]); }

// As sprig reads a number from whatever it is.
int64_t wholeFrom(const Value& value) {
  if (value.is(Value::Kind::BOOL)) return value.boolean() ? 1 : 0;
  if (value.is(Value::Kind::FLOAT)) return towardsZero(value.real());
  if (value.isInteger()) return value.asInteger();
  return value.is(Value::Kind::STRING) ? integerIn(value.text()).value_or(0) : 0;
}
Value sprigInt(Call& call) { return wholeFrom(call.arguments[0]); }
template <Operation OPERATION>
Value sprigCompute(Call& call) {
  Value result = wholeFrom(call.arguments[0]);
  for (size_t i = 1; i < call.size(); ++i) {
    result = computed(call, OPERATION, result, wholeFrom(call.arguments[i]));
  }
  return result;
}

constexpr Function SPRIG_FUNCTIONS[] = {
    {"sprig_upper", "s", sprigUpper},
    {"sprig_lower", "s", sprigLower},
    {"sprig_title", "s", sprigTitle},
    {"sprig_trim", "s", sprigTrim},
    {"sprig_trimAll", "ss", sprigTrimAll},
    {"sprig_nospace", "s", sprigNospace},
    {"sprig_repeat", "is", sprigRepeat},
    {"sprig_trunc", "is", sprigTrunc},
    {"sprig_substr", "iis", sprigSubstr},
    {"sprig_hasPrefix", "ss", sprigHasPrefix},
    {"sprig_hasSuffix", "ss", sprigHasSuffix},
    {"sprig_contains", "ss", sprigContains},
    {"sprig_quote", "a*", sprigQuote},
    {"sprig_squote", "a*", sprigSquote},
    {"sprig_cat", "a*", sprigCat},
    {"sprig_indent", "is", sprigIndent},
    {"sprig_nindent", "is", sprigNindent},
    {"sprig_default", "aa?", sprigDefault},
    {"sprig_empty", "a", sprigEmpty},
    {"sprig_coalesce", "a*", sprigCoalesce},
    {"sprig_ternary", "aaa", sprigTernary},
    {"sprig_toString", "a", sprigToString},
    {"sprig_list", "a*", sprigList},
    {"sprig_dict", "a*", sprigDict},
    {"sprig_get", "ms", sprigGet},
    {"sprig_hasKey", "ms", sprigHasKey},
    {"sprig_keys", "m", sprigKeys},
    {"sprig_first", "l", sprigFirst},
    {"sprig_last", "l", sprigLast},
    {"sprig_rest", "l", sprigRest},
    {"sprig_uniq", "l", sprigUniq},
    {"sprig_sortAlpha", "l", sprigSortAlpha},
    {"sprig_join", "sl", sprigJoin},
    {"sprig_has", "al", sprigHas},
    {"sprig_int", "a", sprigInt},
    {"sprig_add", "aa*", sprigCompute<Operation::ADD>},
    {"sprig_sub", "aa", sprigCompute<Operation::SUBTRACT>},
    {"sprig_mul", "aa*", sprigCompute<Operation::MULTIPLY>},
    {"sprig_div", "aa", sprigCompute<Operation::DIVIDE>},
    {"sprig_mod", "aa", sprigCompute<Operation::MODULO>},
    {"sprig_max", "aa*", sprigCompute<Operation::MAXIMUM>},
    {"sprig_min", "aa*", sprigCompute<Operation::MINIMUM>},
};

}  // namespace

FunctionTable sprigFunctions() { return SPRIG_FUNCTIONS; }

}  // namespace orch::integration::templates
