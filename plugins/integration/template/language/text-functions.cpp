// consul-template's functions on texts, and what it reads of the outside.
#include <re2/re2.h>

#include "language/cases.h"
#include "language/functions.h"
#include "language/rendering.h"
#include "language/time-layout.h"

namespace orch::integration::templates {

namespace {

Value toLower(Call& call) { return lowered(call.text(0)); }
Value toUpper(Call& call) { return raised(call.text(0)); }
Value toTitle(Call& call) { return titled(call.text(0)); }
Value trimSpace(Call& call) { return stripped(call.text(0)); }
Value trim(Call& call) { return trimmed(call.text(1), call.text(0), true, true); }
Value trimPrefix(Call& call) {
  std::string_view text = call.text(1);
  if (text.starts_with(call.text(0))) text.remove_prefix(call.text(0).size());
  return text;
}
Value trimSuffix(Call& call) {
  std::string_view text = call.text(1);
  if (text.ends_with(call.text(0))) text.remove_suffix(call.text(0).size());
  return text;
}

// Pieces between `separator`; of an empty separator, characters.
std::vector<std::string> pieces(Call& call, std::string_view text, std::string_view separator) {
  std::vector<std::string> out;
  call.rendering.charge(text.size());
  if (separator.empty()) {
    for (size_t at = 0; at < text.size();) {
      auto rune = runeAt(text.substr(at));
      out.emplace_back(text.substr(at, rune.bytes));
      at += rune.bytes;
    }
    return out;
  }
  for (;;) {
    auto end = text.find(separator);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + separator.size());
  }
}

Value split(Call& call) {
  auto text = stripped(call.text(1));
  if (text.empty()) return Value::list({});
  return Value::texts(pieces(call, text, call.text(0)));
}

Value splitToMap(Call& call) {
  Value::Map map;
  map.none = "";
  auto text = stripped(call.text(2));
  if (text.empty()) return map;
  for (auto& piece : pieces(call, text, call.text(0))) {
    auto at = piece.find(call.text(1));
    if (at == std::string::npos) continue;
    map.entries[piece.substr(0, at)] = piece.substr(at + call.text(1).size());
  }
  return map;
}

Value join(Call& call) {
  std::string out;
  bool first = true;
  for (auto& item : call.arguments[1].items().items) {
    auto size = item.text().size() + (first ? 0 : call.text(0).size());
    call.rendering.charge(size);
    if (!first) out += call.text(0);
    out += item.text();
    first = false;
  }
  return out;
}

Value replaceAll(Call& call) {
  auto& from = call.text(0);
  auto& to = call.text(1);
  std::string_view text = call.text(2);
  std::string out;
  while (!text.empty() || from.empty()) {
    auto at = from.empty() ? 0 : text.find(from);
    auto step = from.empty() ? runeAt(text).bytes : at;
    if (at == std::string_view::npos) break;
    call.rendering.charge(to.size() + step);
    if (from.empty()) {
      out += to;
      out += text.substr(0, step);
      if (text.empty()) break;
      text.remove_prefix(step);
    } else {
      out += text.substr(0, at);
      out += to;
      text.remove_prefix(at + from.size());
    }
  }
  return out.append(text);
}

RE2::Options quietly() {
  RE2::Options options;
  options.set_log_errors(false);
  return options;
}

class Pattern final {
 public:
  Pattern(Call& call, const std::string& text) : expression(text, quietly()) {
    if (!expression.ok()) {
      call.wrong("'" + text + "' is no regular expression: " + expression.error());
    }
  }
  RE2 expression;
};

Value regexMatch(Call& call) {
  Pattern pattern(call, call.text(0));
  return RE2::PartialMatch(call.text(1), pattern.expression);
}

// `$1`, `${1}` and `${name}` stand for groups, `$$` for a dollar sign.
class Replacement final {
 public:
  Replacement(const RE2& expression, std::string_view text) : expression(expression), text(text) {}

  std::string of(const std::vector<re2::StringPiece>& groups) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      if (text[at] != '$' || at + 1 == text.size()) {
        out += text[at++];
        continue;
      }
      ++at;
      if (text[at] == '$') {
        out += text[at++];
        continue;
      }
      bool braces = text[at] == '{';
      size_t begin = at + (braces ? 1 : 0), end = begin;
      while (end < text.size() && isName(text[end])) ++end;
      bool good = end > begin && (!braces || (end < text.size() && text[end] == '}'));
      if (!good) {
        out += '$';
        continue;
      }
      append(out, text.substr(begin, end - begin), groups);
      at = end + (braces ? 1 : 0);
    }
    return out;
  }

 private:
  static bool isName(char c) {
    auto small = static_cast<char>(c | 0x20);
    return c == '_' || (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z');
  }
  void append(std::string& out, std::string_view name,
              const std::vector<re2::StringPiece>& groups) const {
    size_t group = groups.size();
    if (name.find_first_not_of("0123456789") == std::string_view::npos) {
      if (name.size() < 4) group = static_cast<size_t>(std::stoul(std::string(name)));
    } else {
      auto found = expression.NamedCapturingGroups().find(std::string(name));
      if (found != expression.NamedCapturingGroups().end()) {
        group = static_cast<size_t>(found->second);
      }
    }
    if (group < groups.size()) out.append(groups[group].data(), groups[group].size());
  }
  const RE2& expression;
  std::string_view text;
};

Value regexReplaceAll(Call& call) {
  Pattern pattern(call, call.text(0));
  auto& expression = pattern.expression;
  Replacement replacement(expression, call.text(1));
  auto& text = call.text(2);
  re2::StringPiece whole(text);
  std::vector<re2::StringPiece> groups(static_cast<size_t>(expression.NumberOfCapturingGroups()) +
                                       1);
  std::string out;
  size_t copied = 0, at = 0;
  bool first = true;
  while (at <= text.size() && expression.Match(whole, at, text.size(), RE2::UNANCHORED,
                                               groups.data(), static_cast<int>(groups.size()))) {
    auto begin = static_cast<size_t>(groups[0].data() - text.data());
    auto end = begin + groups[0].size();
    out.append(text, copied, begin - copied);
    // An empty match right behind the one before is none.
    if (first || end > begin || begin > copied) {
      auto with = replacement.of(groups);
      call.rendering.charge(with.size() + (begin - copied));
      out += with;
    }
    first = false;
    copied = end;
    at = end;
    if (end == begin) {
      at += end < text.size() ? runeAt(std::string_view(text).substr(end)).bytes : 1;
    }
  }
  return out.append(text, copied);
}

Value indent(Call& call) {
  auto spaces = call.integer(0);
  if (spaces < 0) call.wrong("the number of spaces is less than 0");
  std::string out;
  bool begin = true;
  for (char c : call.text(1)) {
    if (begin && c != '\n') {
      call.rendering.charge(static_cast<size_t>(spaces));
      out.append(static_cast<size_t>(spaces), ' ');
    }
    out += c;
    begin = c == '\n';
  }
  return out;
}

Value env(Call& call) { return call.world().env(call.text(0)).value_or(""); }
Value mustEnv(Call& call) {
  auto value = call.world().env(call.text(0)).value_or("");
  if (value.empty()) call.wrong("the environment variable '" + call.text(0) + "' is empty");
  return value;
}
Value envOrDefault(Call& call) { return call.world().env(call.text(0)).value_or(call.text(1)); }

Value timestamp(Call& call) {
  auto now = call.world().nowNs();
  if (call.size() == 0) return timeText("2006-01-02T15:04:05Z07:00", now);
  if (call.text(0) == "unix") return std::to_string(now / 1'000'000'000);
  return timeText(call.text(0), now);
}

constexpr Function TEXT_FUNCTIONS[] = {
    {"toLower", "s", toLower},
    {"toUpper", "s", toUpper},
    {"toTitle", "s", toTitle},
    {"trim", "ss", trim},
    {"trimSpace", "s", trimSpace},
    {"trimPrefix", "ss", trimPrefix},
    {"trimSuffix", "ss", trimSuffix},
    {"split", "ss", split},
    {"splitToMap", "sss", splitToMap},
    {"join", "st", join},
    {"replaceAll", "sss", replaceAll},
    {"regexMatch", "ss", regexMatch},
    {"regexReplaceAll", "sss", regexReplaceAll},
    {"indent", "is", indent},
    {"env", "s", env},
    {"mustEnv", "s", mustEnv},
    {"envOrDefault", "ss", envOrDefault},
    {"timestamp", "s?", timestamp},
};

}  // namespace

FunctionTable textFunctions() { return TEXT_FUNCTIONS; }

}  // namespace orch::integration::templates
