// Templates as Go writes them, of which this much: paths (`{{.Spec.Name}}`), functions with values
// behind them, `|`, brackets, `range` and `if` with `else`, `{{-` and `-}}`, comments. No variables
// but `$`. What names and functions mean, and what values are, is a language's: `--format` of the
// program `orch` has one, what is filled in for each task has another.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include <cctype>
#include <cstdint>
#include <string>
#include <string_view>

namespace orch {

// What a language is made of. It also has
//   Value text(kj::String)                            a text in quotes
//   Value number(kj::StringPtr)                       digits
//   Value member(const Value&, kj::StringPtr name)    `.Name` of a value
//   Value call(kj::StringPtr function, kj::ArrayPtr<const Value>)
//   kj::String textOf(const Value&)                   as it is printed
//   bool isTrue(const Value&)
//   kj::Maybe<kj::Array<Value>> items(const Value&)   for `range`; nothing: it is no list
//   [[noreturn]] void wrong(kj::StringPtr why)        fails, with `column` if it wants
// and Value() is a value.
struct TemplateLanguage {
  size_t column = 1;       // of what is being looked at, in bytes from 1 on
  bool checksAll = false;  // what is not printed is worked out as well, for what is wrong with it
  size_t mostBytes = SIZE_MAX;  // that may come of it
  size_t mostSteps = SIZE_MAX;  // blocks and commands, again in each turn of a `range`
};

// For one text.
template <typename Language>
class TemplateReader final {
 public:
  using Value = typename Language::Value;

  // Both are borrowed.
  TemplateReader(kj::StringPtr source, Language& language) : source(source), language(language) {}
  KJ_DISALLOW_COPY(TemplateReader);

  // Once.
  kj::String expand(Value whole) {
    root = kj::mv(whole);
    if (block(root, true) != Stop::AT_END) wrong("an {{end}} or {{else}} has no beginning");
    out.add('\0');
    return kj::String(out.releaseAsArray());
  }

 private:
  // Of blocks and brackets in each other: each takes some of the stack.
  static constexpr unsigned MOST_DEEP = 50;

  struct Token {
    enum Kind { PATH, WORD, TEXT, NUMBER, PIPE, OPEN, CLOSE } kind;
    kj::String text;
    bool glued = false;  // follows the one before without a blank
    size_t column = 0;
  };
  using Tokens = kj::ArrayPtr<const Token>;
  enum class Stop { AT_END, AT_ELSE, AT_CLOSE };

  // Counts how deep it is.
  class Level final {
   public:
    explicit Level(TemplateReader& reader) : reader(reader) {
      if (++reader.depth > MOST_DEEP) reader.wrong("there is too much in each other");
      if (++reader.steps > reader.language.mostSteps) reader.wrong("it takes too many steps");
    }
    ~Level() noexcept(false) { --reader.depth; }
    KJ_DISALLOW_COPY(Level);

   private:
    TemplateReader& reader;
  };

  [[noreturn]] void wrong(kj::StringPtr why) {
    language.column = at + 1;
    language.wrong(why);
  }

  static bool isSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
  std::string_view rest() const {
    return std::string_view(source.begin(), source.size()).substr(at);
  }

  void print(kj::ArrayPtr<const char> text) {
    if (out.size() + text.size() > language.mostBytes) wrong("too much comes of it");
    out.addAll(text);
  }

  // Prints up to the end of the block, or passes over it.
  Stop block(const Value& dot, bool on) {
    Level level(*this);
    for (;;) {
      auto left = rest();
      auto begin = left.find("{{");
      auto literal = left.substr(0, begin);
      bool trims = begin != std::string_view::npos && left.substr(begin + 2, 2) == "- ";
      while (trims && !literal.empty() && isSpace(literal.back())) literal.remove_suffix(1);
      if (on) print(kj::arrayPtr(literal.data(), literal.size()));
      if (begin == std::string_view::npos) return at = source.size(), Stop::AT_END;
      at += begin + (trims ? 4 : 2);
      auto tokens = readAction();
      if (tokens.size() == 0) continue;  // a comment
      kj::StringPtr word = tokens[0].kind == Token::WORD ? kj::StringPtr(tokens[0].text) : ""_kj;
      if (word == "end") return Stop::AT_CLOSE;
      if (word == "else") return Stop::AT_ELSE;
      if (word == "range" || word == "if") {
        nested(tokens.slice(1, tokens.size()), word == "range", dot, on);
      } else if (on || language.checksAll) {
        auto text = language.textOf(pipeline(tokens, dot));
        if (on) print(text);
      }
    }
  }

  void nested(Tokens tokens, bool range, const Value& dot, bool on) {
    Value value;
    if (on || language.checksAll) value = pipeline(tokens, dot);
    size_t begin = at;
    Stop stop = Stop::AT_END;
    bool any = on && language.isTrue(value);
    if (any && range) {
      auto items = language.items(value);
      KJ_IF_MAYBE (list, items) {
        for (auto& item : *list) {
          at = begin;
          stop = block(item, true);
        }
      } else {
        wrong("range needs a list");
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
      while (at < source.size() && isSpace(source[at])) {
        ++at;
        glued = false;
      }
      auto left = rest();
      if (left.starts_with("/*")) {
        auto end = left.find("*/");
        at += end == std::string_view::npos ? left.size() : end + 2;
        continue;
      }
      if (left.starts_with("-}}")) {
        at += 3;
        while (at < source.size() && isSpace(source[at])) ++at;
        return tokens;
      }
      if (left.starts_with("}}")) return at += 2, kj::mv(tokens);
      if (left.empty()) wrong("'}}' is missing");
      size_t column = at + 1;
      tokens.add(readToken());
      tokens.back().glued = glued;
      tokens.back().column = column;
    }
  }

  Token readToken() {
    char first = source[at];
    if (first == '|' || first == '(' || first == ')') {
      ++at;
      return {first == '|' ? Token::PIPE : first == '(' ? Token::OPEN : Token::CLOSE, nullptr};
    }
    if (first == '"' || first == '`') {
      kj::Vector<char> text;
      for (++at; at < source.size() && source[at] != first; ++at) {
        if (source[at] == '\\' && first == '"' && at + 1 < source.size()) ++at;
        text.add(source[at]);
      }
      if (at >= source.size()) wrong("a text has no end");
      ++at;
      text.add('\0');
      return {Token::TEXT, kj::String(text.releaseAsArray())};
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

  Value pipeline(Tokens tokens, const Value& dot) {
    size_t i = 0;
    auto value = commands(tokens, i, dot);
    if (i < tokens.size()) wrong("a ')' has no '('");
    return value;
  }

  // Commands that are joined by `|`: each has the value of the one before as its last argument.
  Value commands(Tokens tokens, size_t& i, const Value& dot) {
    Level level(*this);
    kj::Vector<Value> piped;
    for (;;) {
      if (i == tokens.size()) wrong("something is missing in {{…}}");
      size_t column = tokens[i].column;
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
      language.column = column;
      piped.add(function == nullptr ? values[0] : language.call(function, values));
      if (i == tokens.size() || tokens[i].kind == Token::CLOSE) return piped[0];
      ++i;
    }
  }

  Value term(Tokens tokens, size_t& i, const Value& dot) {
    auto& token = tokens[i++];
    Value value;
    language.column = token.column;
    if (token.kind == Token::TEXT) return language.text(kj::str(token.text));
    if (token.kind == Token::NUMBER) return language.number(token.text);
    if (token.kind == Token::WORD) return language.call(token.text, nullptr);
    if (token.kind == Token::PATH) {
      bool fromRoot = token.text.startsWith("$");
      value = walk(fromRoot ? root : dot, token.text.slice(fromRoot ? 1 : 0));
    } else {
      value = commands(tokens, i, dot);
      if (i == tokens.size()) wrong("a ')' is missing");
      ++i;
    }
    if (i < tokens.size() && tokens[i].kind == Token::PATH && tokens[i].glued) {
      language.column = tokens[i].column;
      value = walk(value, tokens[i++].text);
    }
    return value;
  }

  // `.Spec.Name` from `value` on; `.` is the value itself.
  Value walk(Value value, kj::StringPtr path) {
    std::string_view left(path.begin(), path.size());
    while (left.size() > 1) {
      left.remove_prefix(1);
      auto name = left.substr(0, left.find('.'));
      left.remove_prefix(name.size());
      value = language.member(value, kj::heapString(name.data(), name.size()));
      language.column += name.size() + 1;
    }
    return value;
  }

  kj::StringPtr source;
  Language& language;
  Value root{};
  size_t at = 0;
  unsigned depth = 0;
  size_t steps = 0;
  kj::Vector<char> out;
};

}  // namespace orch
