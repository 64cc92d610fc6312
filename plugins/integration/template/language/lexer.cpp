#include "language/lexer.h"

#include <algorithm>

#include "language/quoting.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

using Kind = Token::Kind;

constexpr std::string_view SPACES = " \t\r\n";

bool isSpace(char c) { return SPACES.find(c) != std::string_view::npos; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWordChar(char c) {
  auto lower = static_cast<char>(c | 0x20);
  return c == '_' || isDigit(c) || (lower >= 'a' && lower <= 'z') || (c & 0x80) != 0;
}

class Lexer final {
 public:
  Lexer(const std::string& name, std::string_view source, const Delimiters& delimiters)
      : name(name), source(source), left(delimiters.left), right(delimiters.right) {}

  std::vector<Token> run() {
    while (text()) action();
    add(Kind::END, source.size());
    return std::move(tokens);
  }

 private:
  std::string_view rest() const { return source.substr(at); }
  bool follows(std::string_view word) const { return rest().starts_with(word); }
  char peek(size_t ahead = 0) const { return at + ahead < source.size() ? source[at + ahead] : 0; }

  // Counts lines from where it counted last: places come in order, but for those of errors.
  Position positionOf(size_t place) {
    if (place < counted) counted = 0, lineBegin = 0, line = 1;
    for (; counted < place; ++counted) {
      if (source[counted] == '\n') ++line, lineBegin = counted + 1;
    }
    return {line, static_cast<uint32_t>(place - lineBegin + 1)};
  }
  [[noreturn]] void wrong(size_t place, const std::string& why) {
    failAt(name, positionOf(place), why);
  }
  void add(Kind kind, size_t begin) {
    tokens.push_back(
        {kind, positionOf(begin), std::string(source.substr(begin, at - begin)), Value()});
  }

  // Up to the next action. False at the end of the template.
  bool text() {
    size_t begin = at;
    size_t next = source.find(left, at);
    auto literal = source.substr(begin, next == std::string_view::npos ? next : next - begin);
    bool trims = next != std::string_view::npos && trimsLeft(next + left.size());
    if (trims) {
      auto last = literal.find_last_not_of(SPACES);
      literal = literal.substr(0, last == std::string_view::npos ? 0 : last + 1);
    }
    at = next == std::string_view::npos ? source.size() : next;
    if (!literal.empty()) {
      tokens.push_back({Kind::TEXT, positionOf(begin), std::string(literal), Value()});
    }
    if (next == std::string_view::npos) return false;
    actionBegin = next;
    at += left.size() + (trims ? 1 : 0);
    return true;
  }
  bool trimsLeft(size_t place) const {
    return place + 1 < source.size() && source[place] == '-' && isSpace(source[place + 1]);
  }
  // Whether the action ends here.
  bool closing(bool& trims) const {
    trims = isSpace(peek()) && peek(1) == '-' && source.substr(at + 2).starts_with(right);
    return trims || follows(right);
  }
  void close(bool trims, bool comment = false) {
    if (!comment) add(Kind::RIGHT, at);
    at += right.size() + (trims ? 2 : 0);
    while (trims && at < source.size() && isSpace(source[at])) ++at;
  }

  void action() {
    if (commented()) return;
    tokens.push_back({Kind::LEFT, positionOf(actionBegin), left, Value()});
    for (;;) {
      bool trims = false;
      if (closing(trims)) {
        if (depth != 0) wrong(at, "a ')' is missing");
        close(trims);
        return;
      }
      if (at >= source.size())
        wrong(actionBegin, "the action has no end: '" + right + "' is missing");
      word();
    }
  }
  bool commented() {
    size_t begin = at;
    while (begin < source.size() && begin > actionBegin + left.size() && isSpace(source[begin])) {
      ++begin;
    }
    if (!source.substr(begin).starts_with("/*")) return false;
    auto end = source.find("*/", begin + 2);
    if (end == std::string_view::npos)
      wrong(actionBegin, "the comment has no end: '*/' is missing");
    at = end + 2;
    bool trims = false;
    if (!closing(trims)) wrong(at, "a comment ends before the closing delimiter");
    close(trims, true);
    return true;
  }

  void word() {
    size_t begin = at;
    char c = peek();
    if (isSpace(c)) {
      bool trims = false;
      while (at < source.size() && isSpace(peek()) && !closing(trims)) ++at;
      add(Kind::SPACE, begin);
    } else if (c == '"' || c == '`' || c == '\'') {
      quoted(c);
    } else if (isDigit(c) || ((c == '+' || c == '-') && (isDigit(peek(1)) || peek(1) == '.')) ||
               (c == '.' && isDigit(peek(1)))) {
      number();
    } else if (c == '.' || c == '$' || isWordChar(c)) {
      name_(c);
    } else {
      symbol(c);
    }
  }
  void symbol(char c) {
    size_t begin = at;
    at += c == ':' ? 2 : 1;
    if (c == ':' && source.substr(begin, 2) == ":=") return add(Kind::DECLARE, begin);
    if (c == '=') return add(Kind::ASSIGN, begin);
    if (c == '|') return add(Kind::PIPE, begin);
    if (c == ',') return add(Kind::COMMA, begin);
    if (c == '(') return ++depth, add(Kind::OPEN, begin);
    if (c != ')') wrong(begin, std::string("'") + c + "' is not understood here");
    if (depth-- == 0) wrong(begin, "a ')' has no '('");
    add(Kind::CLOSE, begin);
  }
  void name_(char first) {
    size_t begin = at;
    if (!isWordChar(first)) ++at;
    while (at < source.size() && isWordChar(peek())) ++at;
    auto kind = first == '.' ? Kind::FIELD : first == '$' ? Kind::VARIABLE : Kind::WORD;
    if (first == '.' && at == begin + 1) kind = Kind::DOT;
    add(kind, begin);
    if (kind == Kind::FIELD) tokens.back().text.erase(0, 1);
    if (!terminated()) wrong(at, std::string("'") + peek() + "' is not understood here");
  }
  // What may follow a name without a space.
  bool terminated() const {
    char c = peek();
    return at >= source.size() || isSpace(c) || c == '.' || c == ',' || c == '|' || c == ':' ||
           c == ')' || c == '(' || follows(right);
  }
  void number() {
    size_t begin = at;
    ++at;
    auto inNumber = [&](char c) {
      bool sign = (c == '+' || c == '-') && (source[at - 1] | 0x20) == 'e' &&
                  source.substr(begin, 2) != "0x" && source.substr(begin, 2) != "0X";
      return isWordChar(c) || c == '.' || sign;
    };
    while (at < source.size() && inNumber(peek())) ++at;
    add(Kind::CONSTANT, begin);
    if (!readNumber(tokens.back().text, tokens.back().constant)) {
      wrong(begin, "'" + tokens.back().text + "' is no number");
    }
  }
  void quoted(char quote) {
    size_t begin = at;
    for (++at; at < source.size() && peek() != quote; ++at) {
      if (quote == '`') continue;
      if (peek() == '\n') break;
      if (peek() == '\\') ++at;
    }
    if (at >= source.size() || peek() != quote) wrong(begin, "the text in quotes has no end");
    ++at;
    add(Kind::CONSTANT, begin);
    auto& token = tokens.back();
    auto inside = source.substr(begin + 1, at - begin - 2);
    std::string text;
    if (quote == '`') {
      text = std::string(inside);
      std::erase(text, '\r');
    } else if (!unquote(inside, quote, text)) {
      wrong(begin, "what stands in quotes has a '\\' that means nothing");
    }
    if (quote != '\'') {
      token.constant = Value(std::move(text));
      return;
    }
    auto rune = runeAt(text);
    if (text.empty() || rune.bytes != text.size()) wrong(begin, "in '…' stands one character");
    token.constant = Value(static_cast<int64_t>(rune.code));
  }

  const std::string& name;
  std::string_view source;
  const std::string& left;
  const std::string& right;
  std::vector<Token> tokens;
  size_t at = 0;
  size_t actionBegin = 0;
  unsigned depth = 0;  // of brackets
  size_t counted = 0;
  size_t lineBegin = 0;
  uint32_t line = 1;
};

}  // namespace

void failAt(const std::string& name, Position at, const std::string& why) {
  fail(kj::str(name.c_str(), ":", at.line, ":", at.column, ": ", why.c_str()));
}

std::vector<Token> tokensOf(const std::string& name, std::string_view text,
                            const Delimiters& delimiters) {
  return Lexer(name, text, delimiters).run();
}

}  // namespace orch::integration::templates
