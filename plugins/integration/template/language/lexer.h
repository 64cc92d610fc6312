// The words of a template. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "language/value.h"

namespace orch::integration::templates {

// In the text of a template, from 1 on; the column counts bytes.
struct Position {
  uint32_t line = 1;
  uint32_t column = 1;
};
// Fails with `NAME:LINE:COLUMN: WHY`.
[[noreturn]] void failAt(const std::string& name, Position at, const std::string& why);

struct Delimiters {
  std::string left = "{{";
  std::string right = "}}";
};

struct Token {
  enum class Kind {
    TEXT,      // between actions: `text`
    LEFT,      // an action begins
    RIGHT,     // and ends
    SPACE,     // between words
    WORD,      // a function, a keyword, true, false or nil: `text`
    FIELD,     // `.Name`: `text` without the dot
    VARIABLE,  // `$x`: `text` with the dollar sign
    DOT,
    CONSTANT,  // `value`
    PIPE,
    COMMA,
    OPEN,
    CLOSE,
    DECLARE,  // :=
    ASSIGN,   // =
    END,      // of the template
  };
  Kind kind = Kind::END;
  Position at;
  std::string text;  // as it is written, unless said otherwise
  Value constant;
};

// All of them, with END at last. White space beside `{{-` and `-}}` is gone, and so are comments.
// Fails as `failAt` does.
std::vector<Token> tokensOf(const std::string& name, std::string_view text,
                            const Delimiters& delimiters);

// A number as Go writes it in a program: `0x1F`, `1_000`, `1e3`, `'a'` not; nothing if it is none.
bool readNumber(std::string_view text, Value& number);
// What stands for a character in UTF-8.
void appendRune(std::string& to, uint32_t rune);
// The character that `text` begins with and how many bytes it has; bytes that are no UTF-8 are
// U+FFFD each.
struct Rune {
  uint32_t code = 0;
  size_t bytes = 0;
};
Rune runeAt(std::string_view text);

}  // namespace orch::integration::templates
