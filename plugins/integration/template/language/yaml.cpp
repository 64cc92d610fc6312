#include <algorithm>
#include <cstdio>

#include "language/cases.h"
#include "language/format.h"
#include "language/lexer.h"
#include "language/notations.h"

namespace orch::integration::templates {

namespace {

bool isFigure(char c) { return c >= '0' && c <= '9'; }

// Numbers in names count as numbers: `a2` comes before `a10`.
bool comesBefore(const std::string& a, const std::string& b) {
  auto isLetter = [](char c) {
    auto small = static_cast<char>(c | 0x20);
    return (small >= 'a' && small <= 'z') || (c & 0x80) != 0;
  };
  auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (x == a.end() || y == b.end()) return x == a.end() && y != b.end();
  if (isLetter(*x) != isLetter(*y)) return isLetter(*y);
  if (!isFigure(*x) || !isFigure(*y)) return *x < *y;
  auto runOf = [](auto at, auto end) {
    auto stop = std::find_if_not(at, end, isFigure);
    return std::string(std::find_if(at, stop, [](char c) { return c != '0'; }), stop);
  };
  auto p = runOf(x, a.end()), q = runOf(y, b.end());
  return p.size() != q.size() ? p.size() < q.size() : p != q ? p < q : *x < *y;
}

bool looksLikeNumber(std::string text) {
  std::erase(text, '_');
  Value number;
  if (!text.empty() &&
      (isFigure(text[0]) || std::string_view("+-.").find(text[0]) != std::string_view::npos)) {
    if (readNumber(text, number)) return true;
    // 1:30 was a number once, and 2001-01-01 is a time.
    bool parts = text.find_first_not_of("0123456789:.") == std::string::npos;
    bool date = text.size() >= 8 && text.find_first_not_of("0123456789") == 4 && text[4] == '-';
    return date || (parts && text.find(':') != std::string::npos && isFigure(text[0]));
  }
  return false;
}

// What would be read as something else than a text.
bool isWordOfYaml(const std::string& text) {
  constexpr std::string_view WORDS[] = {"",     "~",     "null",  "true", "false", "y",
                                        "n",    "yes",   "no",    "on",   "off",   "<<",
                                        ".inf", "-.inf", "+.inf", ".nan"};
  auto small = lowered(text);
  return std::find(std::begin(WORDS), std::end(WORDS), small) != std::end(WORDS) ||
         looksLikeNumber(text);
}

bool isPrintable(uint32_t c) {
  return c == '\n' || (c >= ' ' && c <= '~') || c == 0x85 || (c >= 0xA0 && c <= 0xD7FF) ||
         (c >= 0xE000 && c <= 0x10FFFF && c != 0xFEFF && c != 0xFFFD);
}

struct Look {
  bool special = false;     // has what cannot be printed
  bool indicators = false;  // has what means something where it stands
  bool lines = false;
  bool spaceAtEnd = false;  // of a line
};

Look lookAtText(std::string_view text) {
  constexpr std::string_view BEGIN = "#,[]{}&*!|>'\"%@`";
  constexpr std::string_view BEGIN_WITH_SPACE = "-?:";
  Look look;
  bool ends = text.size() == 1;
  look.indicators =
      BEGIN.find(text[0]) != std::string_view::npos || text.starts_with("---") ||
      text.starts_with("...") || text.front() == ' ' || text.back() == ' ' ||
      (BEGIN_WITH_SPACE.find(text[0]) != std::string_view::npos && (ends || text[1] == ' '));
  for (size_t at = 0; at < text.size();) {
    auto rune = runeAt(text.substr(at));
    char next = at + 1 < text.size() ? text[at + 1] : ' ';
    look.special = look.special || !isPrintable(rune.code);
    look.lines = look.lines || rune.code == '\n';
    bool colon = rune.code == ':' && (next == ' ' || next == '\n');
    bool comment = rune.code == '#' && at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\n');
    look.indicators = look.indicators || colon || comment;
    bool trailing = rune.code == ' ' && (next == '\n' || at + 1 == text.size());
    look.spaceAtEnd = look.spaceAtEnd || trailing;
    at += rune.bytes;
  }
  return look;
}

std::string inDoubleQuotes(std::string_view text) {
  constexpr std::string_view NAMED = "\0\a\b\t\n\v\f\r\x1b\"\\";
  constexpr std::string_view NAMES = "0abtnvfre\"\\";
  std::string out = "\"";
  char buffer[16];
  for (size_t at = 0; at < text.size();) {
    auto rune = runeAt(text.substr(at));
    auto known =
        rune.code < 0x80
            ? std::string_view(NAMED.data(), NAMES.size()).find(static_cast<char>(rune.code))
            : std::string_view::npos;
    if (known != std::string_view::npos) {
      out += {'\\', NAMES[known]};
    } else if (isPrintable(rune.code)) {
      out += text.substr(at, rune.bytes);
    } else {
      const char* form = rune.code <= 0xFF     ? "\\x%02X"
                         : rune.code <= 0xFFFF ? "\\u%04X"
                                               : "\\U%08X";
      snprintf(buffer, sizeof buffer, form, static_cast<unsigned>(rune.code));
      out += buffer;
    }
    at += rune.bytes;
  }
  return out + '"';
}

std::string inSingleQuotes(std::string_view text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

class YamlWriter final {
 public:
  std::string out;

  // `indent`: of the lines that follow the first one.
  void write(const Value& value, size_t indent) {
    if (value.is(Value::Kind::LIST)) return list(value.items().items, indent);
    if (value.is(Value::Kind::MAP) || value.is(Value::Kind::STRUCT)) return map(value, indent);
    scalar(value, indent);
  }

 private:
  void begin(bool& first, size_t indent) {
    if (!first) out += "\n" + std::string(indent, ' ');
    first = false;
  }
  void list(const std::vector<Value>& items, size_t indent) {
    if (items.empty()) out += "[]";
    bool first = true;
    for (auto& item : items) {
      begin(first, indent);
      out += "- ";
      write(item, indent + 2);
    }
  }
  void map(const Value& value, size_t indent) {
    auto entries = entriesOf(value);
    if (value.is(Value::Kind::MAP)) {
      std::sort(entries.begin(), entries.end(),
                [](auto& a, auto& b) { return comesBefore(a.first, b.first); });
    }
    if (entries.empty()) out += "{}";
    bool first = true;
    for (auto& [name, item] : entries) {
      begin(first, indent);
      auto key = value.is(Value::Kind::STRUCT) ? lowered(name) : name;
      text(key, indent, true);
      out += ":";
      bool list = item.is(Value::Kind::LIST);
      bool deeper = (list || item.is(Value::Kind::MAP) || item.is(Value::Kind::STRUCT)) &&
                    (item.is(Value::Kind::STRUCT) || item.isTrue());
      // Lists stand below their key, not to the right of it.
      auto below = list ? indent : indent + 2;
      out += deeper ? "\n" + std::string(below, ' ') : " ";
      write(item, below);
    }
  }
  void scalar(const Value& value, size_t indent) {
    if (value.is(Value::Kind::STRING)) return text(value.text(), indent, false);
    out += value.isNil() ? "null" : plainText(value);
  }
  void text(const std::string& text, size_t indent, bool key) {
    if (text.empty()) {
      out += "\"\"";
      return;
    }
    auto look = lookAtText(text);
    if (look.lines && !look.special && !look.spaceAtEnd && !key) return literal(text, indent);
    if (look.special || look.lines || isWordOfYaml(text)) {
      out += inDoubleQuotes(text);
    } else {
      out += look.indicators ? inSingleQuotes(text) : text;
    }
  }
  void literal(std::string_view text, size_t indent) {
    bool end = text.ends_with('\n');
    bool more = text.ends_with("\n\n") || text == "\n";
    bool hint = text.front() == ' ' || text.front() == '\n';
    out += std::string("|") + (hint ? "2" : "") + (more ? "+" : end ? "" : "-");
    if (end) text.remove_suffix(1);
    auto margin = std::string(std::max<size_t>(indent, 2), ' ');
    for (;;) {
      auto stop = text.find('\n');
      auto line = text.substr(0, stop);
      out += "\n";
      if (!line.empty()) out += margin + std::string(line);
      if (stop == std::string_view::npos) return;
      text.remove_prefix(stop + 1);
    }
  }
};

}  // namespace

std::vector<std::pair<std::string, Value>> entriesOf(const Value& value) {
  std::vector<std::pair<std::string, Value>> entries;
  if (value.is(Value::Kind::STRUCT)) {
    for (auto& [name, item] : value.fields().fields) entries.emplace_back(name, item);
    return entries;
  }
  for (auto& [key, item] : value.map().entries) {
    auto* number = std::get_if<int64_t>(&key);
    entries.emplace_back(number ? std::to_string(*number) : std::get<std::string>(key), item);
  }
  return entries;
}

std::string yamlText(const Value& value) {
  YamlWriter writer;
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace orch::integration::templates
