#include "language/quoting.h"

#include <charconv>
#include <cstdio>

#include "language/lexer.h"

namespace orch::integration::templates {

namespace {

constexpr uint32_t REPLACEMENT = 0xFFFD;
constexpr uint32_t MAX_RUNE = 0x10FFFF;
constexpr std::string_view ESCAPED = "abfnrtv\\";
constexpr std::string_view MEANT = "\a\b\f\n\r\t\v\\";

bool isSurrogate(uint32_t code) { return code >= 0xD800 && code <= 0xDFFF; }

// `digits` of this base, behind a backslash and its letter.
bool readEscape(std::string_view& rest, size_t digits, int base, uint32_t& code) {
  if (rest.size() < digits) return false;
  auto* end = rest.data() + digits;
  auto [stop, error] = std::from_chars(rest.data(), end, code, base);
  if (error != std::errc() || stop != end) return false;
  rest.remove_prefix(digits);
  return true;
}

bool readRuneEscape(std::string_view& rest, size_t digits, std::string& text) {
  uint32_t code = 0;
  if (!readEscape(rest, digits, 16, code) || code > MAX_RUNE || isSurrogate(code)) return false;
  appendRune(text, code);
  return true;
}

bool readOne(std::string_view& rest, char quote, std::string& text) {
  if (rest.empty()) return false;
  char c = rest.front();
  uint32_t code = 0;
  if (c >= '0' && c <= '7') {
    if (!readEscape(rest, 3, 8, code) || code > 0xFF) return false;
    text += static_cast<char>(code);
    return true;
  }
  rest.remove_prefix(1);
  if (c == quote) return text += c, true;
  if (c == 'u') return readRuneEscape(rest, 4, text);
  if (c == 'U') return readRuneEscape(rest, 8, text);
  if (c == 'x') {
    if (!readEscape(rest, 2, 16, code)) return false;
    text += static_cast<char>(code);
    return true;
  }
  auto known = ESCAPED.find(c);
  if (known == std::string_view::npos) return false;
  text += MEANT[known];
  return true;
}

// The code of a sequence of `bytes` bytes, if it is UTF-8 as it has to be.
bool sequence(std::string_view text, size_t bytes, uint32_t least, uint32_t& code) {
  if (text.size() < bytes) return false;
  for (size_t i = 1; i < bytes; ++i) {
    if ((text[i] & 0xC0) != 0x80) return false;
    code = (code << 6) | (text[i] & 0x3F);
  }
  return code >= least && code <= MAX_RUNE && !isSurrogate(code);
}

}  // namespace

bool unquote(std::string_view inside, char quote, std::string& text) {
  while (!inside.empty()) {
    char c = inside.front();
    inside.remove_prefix(1);
    if (c != '\\') {
      text += c;
    } else if (!readOne(inside, quote, text)) {
      return false;
    }
  }
  return true;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  char buffer[16];
  for (size_t at = 0; at < text.size();) {
    auto rune = runeAt(text.substr(at));
    auto known = rune.bytes == 1 ? MEANT.find(text[at]) : std::string_view::npos;
    bool damaged = rune.code == REPLACEMENT && rune.bytes == 1;
    if (rune.code == '"') {
      out += "\\\"";
    } else if (known != std::string_view::npos) {
      out += {'\\', ESCAPED[known]};
    } else if (damaged || rune.code < ' ' || rune.code == 0x7F) {
      snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned char>(text[at]));
      out += buffer;
    } else if (rune.code >= 0x80 && rune.code < 0xA0) {
      snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(rune.code));
      out += buffer;
    } else {
      out += text.substr(at, rune.bytes);
    }
    at += rune.bytes;
  }
  return out + '"';
}

void appendRune(std::string& to, uint32_t rune) {
  auto more = [&](unsigned shift) { to += static_cast<char>(0x80 | ((rune >> shift) & 0x3F)); };
  if (rune > MAX_RUNE || isSurrogate(rune)) rune = REPLACEMENT;
  if (rune < 0x80) {
    to += static_cast<char>(rune);
  } else if (rune < 0x800) {
    to += static_cast<char>(0xC0 | (rune >> 6));
    more(0);
  } else if (rune < 0x10000) {
    to += static_cast<char>(0xE0 | (rune >> 12));
    more(6), more(0);
  } else {
    to += static_cast<char>(0xF0 | (rune >> 18));
    more(12), more(6), more(0);
  }
}

Rune runeAt(std::string_view text) {
  if (text.empty()) return {};
  auto first = static_cast<unsigned char>(text.front());
  uint32_t code = first;
  if (first < 0x80) return {code, 1};
  if (first >= 0xC2 && first < 0xE0 && sequence(text, 2, 0x80, code &= 0x1F)) return {code, 2};
  code = first & 0x0F;
  if ((first & 0xF0) == 0xE0 && sequence(text, 3, 0x800, code)) return {code, 3};
  code = first & 0x07;
  if ((first & 0xF8) == 0xF0 && sequence(text, 4, 0x10000, code)) return {code, 4};
  return {REPLACEMENT, 1};
}

bool readNumber(std::string_view text, Value& number) {
  std::string digits(text);
  bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.erase(0, 1);
  if (digits.starts_with('_') || digits.ends_with('_')) return false;
  std::erase(digits, '_');
  if (digits.empty()) return false;
  int base = 10;
  size_t skip = 0;
  char mark = digits.size() > 1 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : '\0';
  if (mark == 'x') base = 16, skip = 2;
  if (mark == 'o') base = 8, skip = 2;
  if (mark == 'b') base = 2, skip = 2;
  bool octal = skip == 0 && digits.size() > 1 && digits[0] == '0' &&
               digits.find_first_not_of("0123456789") == std::string::npos;
  if (octal) base = 8, skip = 1;
  const char* end = digits.data() + digits.size();
  uint64_t whole = 0;
  auto read = std::from_chars(digits.data() + skip, end, whole, base);
  if (read.ec == std::errc() && read.ptr == end) {
    constexpr auto LARGEST = static_cast<uint64_t>(INT64_MAX);
    if (negative) {
      if (whole > LARGEST + 1) return false;
      number = Value(static_cast<int64_t>(0 - whole));
    } else {
      number = whole <= LARGEST ? Value(static_cast<int64_t>(whole)) : Value(whole);
    }
    return true;
  }
  if (base != 10) return false;
  double real = 0;
  auto parsed = std::from_chars(digits.data(), end, real);
  if (parsed.ec != std::errc() || parsed.ptr != end) return false;
  if (negative) real = -real;
  number = Value(real);
  return true;
}

}  // namespace orch::integration::templates
