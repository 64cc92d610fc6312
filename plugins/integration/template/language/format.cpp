#include "language/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "language/lexer.h"
#include "language/quoting.h"

namespace orch::integration::templates {

namespace {

constexpr int MOST_WIDTH = 10'000;
constexpr size_t MOST_FORMATTED = 32 << 20;
// of digits behind the point; more than a number has.
constexpr int MOST_PRECISION = 1'100;
// Exponents that Go's shortest `%g` writes: those below the one, and those from the other on.
constexpr int SMALLEST_EXPONENT = -4;
constexpr int LARGE_EXPONENT = 6;

struct Directive {
  bool minus = false, plus = false, sharp = false, space = false, zero = false;
  int width = -1;
  int precision = -1;
  char verb = 0;
};

std::string padded(std::string text, const Directive& d, bool number) {
  if (d.width < 0) return text;
  size_t length = 0;
  for (size_t at = 0; at < text.size(); ++length) {
    at += runeAt(std::string_view(text).substr(at)).bytes;
  }
  auto width = static_cast<size_t>(d.width);
  if (length >= width) return text;
  auto missing = width - length;
  if (d.minus) return text + std::string(missing, ' ');
  if (!d.zero) return std::string(missing, ' ') + text;
  bool sign = number && !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ');
  return text.substr(0, sign ? 1 : 0) + std::string(missing, '0') + text.substr(sign ? 1 : 0);
}

std::string wholeDigits(uint64_t value, char verb, const Directive& d) {
  int base = verb == 'b'                  ? 2
             : verb == 'o' || verb == 'O' ? 8
             : verb == 'x' || verb == 'X' ? 16
                                          : 10;
  char buffer[72];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, base).ptr;
  std::string digits(buffer, end);
  if (d.precision == 0 && value == 0) digits.clear();
  auto least = static_cast<size_t>(std::max(0, d.precision));
  if (digits.size() < least) digits.insert(0, least - digits.size(), '0');
  if (d.sharp && base == 2) digits = "0b" + digits;
  if (d.sharp && base == 16) digits = "0x" + digits;
  if (verb == 'O' || (d.sharp && base == 8)) digits = (verb == 'O' ? "0o" : "0") + digits;
  if (verb == 'X') {
    for (auto& c : digits) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  }
  return digits;
}

std::string wholeText(const Value& value, const Directive& d) {
  bool negative = value.is(Value::Kind::INT) && value.integer() < 0;
  uint64_t size = value.is(Value::Kind::UINT) ? value.natural()
                  : negative                  ? ~static_cast<uint64_t>(value.integer()) + 1
                                              : static_cast<uint64_t>(value.integer());
  auto sign = negative ? "-" : d.plus ? "+" : d.space ? " " : "";
  Directive padding = d;
  if (d.precision >= 0) padding.zero = false;
  return padded(sign + wholeDigits(size, d.verb, d), padding, true);
}

std::string hexText(std::string_view text, const Directive& d) {
  std::string out;
  const char* digits = d.verb == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  for (size_t i = 0; i < text.size(); ++i) {
    if (d.space && i > 0) out += ' ';
    auto byte = static_cast<unsigned char>(text[i]);
    out += {digits[byte >> 4], digits[byte & 15]};
  }
  return out;
}

std::string_view firstRunes(std::string_view text, int count) {
  size_t at = 0;
  for (int i = 0; i < count && at < text.size(); ++i) at += runeAt(text.substr(at)).bytes;
  return text.substr(0, at);
}

std::string formatted(const Value& value, const Directive& d);

std::string bad(const Value& value, char verb) {
  std::string out = std::string("%!") + verb + "(";
  if (value.isNil()) return out + "<nil>)";
  return out + value.typeName() + "=" + plainText(value) + ")";
}

std::string formattedText(const std::string& whole, const Directive& d) {
  std::string_view text = whole;
  if (d.precision >= 0) text = firstRunes(text, d.precision);
  bool hex = d.verb == 'x' || d.verb == 'X';
  if (hex) return padded(hexText(text, d), d, false);
  bool quotes = d.verb == 'q' || (d.verb == 'v' && d.sharp);
  bool raw = quotes && d.sharp && d.verb == 'q' && text.find('`') == std::string_view::npos;
  if (raw) return padded("`" + std::string(text) + "`", d, false);
  return padded(quotes ? quoted(text) : std::string(text), d, false);
}

std::string formattedNumber(const Value& value, const Directive& d) {
  Directive plain = d;
  if (d.verb == 'v') plain.verb = 'd', plain.sharp = false;
  if (std::strchr("dboOxX", plain.verb) != nullptr) return wholeText(value, plain);
  auto code = value.asInteger();
  std::string rune;
  appendRune(rune, code >= 0 && code <= 0x10FFFF ? static_cast<uint32_t>(code) : 0xFFFD);
  if (d.verb == 'c') return padded(rune, d, false);
  if (d.verb == 'q') return padded("'" + (rune == "'" ? "\\'" : rune) + "'", d, false);
  if (d.verb == 'U') {
    Directive hex;
    hex.verb = 'X';
    hex.precision = 4;
    return padded("U+" + wholeDigits(static_cast<uint64_t>(code), 'X', hex), d, false);
  }
  return bad(value, d.verb);
}

std::string formattedReal(double value, const Directive& d) {
  char verb = d.verb == 'v' ? 'g' : d.verb == 'F' ? 'f' : d.verb;
  bool upper = verb == 'E' || verb == 'G';
  int precision = d.precision;
  auto lower = static_cast<char>(verb | 0x20);
  if (precision < 0 && lower != 'g') precision = 6;
  auto text = realText(value, lower, std::min(precision, MOST_PRECISION));
  if (upper) {
    for (auto& c : text) c = c == 'e' ? 'E' : c;
  }
  if (d.plus && !text.starts_with('-') && !text.starts_with('+')) text = "+" + text;
  if (d.space && !text.starts_with('-') && !text.starts_with('+')) text = " " + text;
  Directive padding = d;
  if (!std::isfinite(value)) padding.zero = false;
  return padded(text, padding, true);
}

// What is made of others: each of them is formatted so.
std::string formattedWhole(const Value& value, const Directive& d) {
  std::string out;
  bool first = true;
  if (value.is(Value::Kind::LIST)) {
    for (auto& item : value.items().items) {
      out += (first ? "" : " ") + formatted(item, d);
      first = false;
    }
    return "[" + out + "]";
  }
  if (value.is(Value::Kind::MAP)) {
    for (auto& [key, item] : value.map().entries) {
      auto* number = std::get_if<int64_t>(&key);
      auto name = number ? Value(*number) : Value(std::get<std::string>(key));
      out += (first ? "" : " ") + formatted(name, d) + ":" + formatted(item, d);
      first = false;
    }
    return "map[" + out + "]";
  }
  for (auto& [name, item] : value.fields().fields) {
    out += (first ? "" : " ") + (d.plus ? name + std::string(":") : std::string());
    out += formatted(item, d);
    first = false;
  }
  return "{" + out + "}";
}

std::string formatted(const Value& value, const Directive& d) {
  if (d.verb == 'T') return padded(value.typeName(), d, false);
  bool texts = std::strchr("vsqxX", d.verb) != nullptr;
  switch (value.kind()) {
    case Value::Kind::NIL:
      return d.verb == 'v' ? padded("<nil>", d, false) : bad(value, d.verb);
    case Value::Kind::BOOL:
      if (d.verb != 'v' && d.verb != 't') return bad(value, d.verb);
      return padded(value.boolean() ? "true" : "false", d, false);
    case Value::Kind::INT:
    case Value::Kind::UINT:
      return formattedNumber(value, d);
    case Value::Kind::FLOAT:
      if (std::strchr("veEfFgG", d.verb) == nullptr) return bad(value, d.verb);
      return formattedReal(value.real(), d);
    case Value::Kind::STRING:
      return texts ? formattedText(value.text(), d) : bad(value, d.verb);
    case Value::Kind::LIST:
    case Value::Kind::MAP:
    case Value::Kind::STRUCT:
      return formattedWhole(value, d);
    case Value::Kind::SPAN:
    case Value::Kind::OBJECT:
      return padded(std::string("<") + value.typeName() + ">", d, false);
  }
  return {};
}

class DirectiveReader final {
 public:
  DirectiveReader(std::string_view format, std::span<const Value> values)
      : format(format), values(values) {}

  std::string run() {
    std::string out;
    while (at < format.size() && out.size() < MOST_FORMATTED) {
      auto percent = std::min(format.find('%', at), format.size());
      out += format.substr(at, percent - at);
      at = percent + 1;
      if (percent < format.size()) out += one();
    }
    if (next < values.size()) {
      out += "%!(EXTRA ";
      for (size_t i = next; i < values.size(); ++i) {
        if (i > next) out += ", ";
        out += values[i].isNil() ? "<nil>" : values[i].typeName() + ("=" + plainText(values[i]));
      }
      out += ")";
    }
    return out;
  }

 private:
  std::string one() {
    Directive d;
    for (bool flag = true; flag && at < format.size(); at += flag ? 1 : 0) {
      char c = format[at];
      flag = setFlag(d, c);
    }
    if (!number(d.width)) return "%!(BADWIDTH)";
    if (d.width < -1) d.minus = true, d.width = -d.width;
    if (d.minus) d.zero = false;
    if (at < format.size() && format[at] == '.') {
      ++at;
      d.precision = 0;
      if (!number(d.precision)) return "%!(BADPREC)";
    }
    if (at >= format.size()) return "%!(NOVERB)";
    d.verb = format[at];
    auto verb = runeAt(format.substr(at));
    auto name = format.substr(at, verb.bytes);
    at += verb.bytes;
    if (d.verb == '%') return "%";
    if (next >= values.size()) return "%!" + std::string(name) + "(MISSING)";
    return formatted(values[next++], d);
  }
  static bool setFlag(Directive& d, char c) {
    bool* flag = c == '-'   ? &d.minus
                 : c == '+' ? &d.plus
                 : c == '#' ? &d.sharp
                 : c == ' ' ? &d.space
                 : c == '0' ? &d.zero
                            : nullptr;
    if (flag == nullptr) return false;
    *flag = true;
    return true;
  }
  // Digits, or `*` for an argument. False if that is no number.
  bool number(int& into) {
    if (at < format.size() && format[at] == '*') {
      ++at;
      if (next >= values.size() || !values[next].isInteger()) return false;
      auto value = values[next++].asInteger();
      if (value < -MOST_WIDTH || value > MOST_WIDTH) return false;
      into = static_cast<int>(value);
      return true;
    }
    int value = 0;
    bool any = false;
    for (; at < format.size() && format[at] >= '0' && format[at] <= '9'; ++at) {
      any = true;
      value = std::min(value * 10 + (format[at] - '0'), MOST_WIDTH + 1);
    }
    if (any && value <= MOST_WIDTH) into = value;
    return true;
  }

  std::string_view format;
  std::span<const Value> values;
  size_t at = 0;
  size_t next = 0;
};

// The digits of a number and where its point is, of the shortest text that is this number.
std::string exponentText(const std::string& digits, int exponent, bool negative) {
  std::string out = negative ? "-" : "";
  out += digits[0];
  if (digits.size() > 1) out += "." + digits.substr(1);
  out += exponent < 0 ? "e-" : "e+";
  auto size = std::to_string(std::abs(exponent));
  return out + (size.size() < 2 ? "0" : "") + size;
}

std::string fixedText(const std::string& digits, int exponent, bool negative) {
  std::string out = negative ? "-" : "";
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0');
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

}  // namespace

std::string realText(double value, char verb, int precision) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Inf" : "+Inf";
  char buffer[2048];
  auto* end = buffer + sizeof buffer;
  if (precision >= 0) {
    auto form = verb == 'e'   ? std::chars_format::scientific
                : verb == 'f' ? std::chars_format::fixed
                              : std::chars_format::general;
    return std::string(buffer, std::to_chars(buffer, end, value, form, precision).ptr);
  }
  auto stop = std::to_chars(buffer, end, value, std::chars_format::scientific).ptr;
  std::string text(buffer, stop);
  bool negative = text.starts_with('-');
  auto mark = text.find('e');
  auto digits = text.substr(negative ? 1 : 0, mark - (negative ? 1 : 0));
  std::erase(digits, '.');
  int exponent = std::atoi(text.c_str() + mark + 1);
  if (verb == 'e') return exponentText(digits, exponent, negative);
  bool big = verb == 'g' && (exponent < SMALLEST_EXPONENT || exponent >= LARGE_EXPONENT);
  return big ? exponentText(digits, exponent, negative) : fixedText(digits, exponent, negative);
}

std::string plainText(const Value& value) {
  if (value.is(Value::Kind::STRING)) return value.text();
  Directive d;
  d.verb = 'v';
  return formatted(value, d);
}

std::string printed(const Value& value) { return value.isNil() ? "<no value>" : plainText(value); }

std::string printAll(std::span<const Value> values) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    bool space =
        i > 0 && !values[i].is(Value::Kind::STRING) && !values[i - 1].is(Value::Kind::STRING);
    out += (space ? " " : "") + plainText(values[i]);
  }
  return out;
}

std::string printLine(std::span<const Value> values) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) out += (i > 0 ? " " : "") + plainText(values[i]);
  return out + "\n";
}

std::string printFormat(std::string_view format, std::span<const Value> values) {
  return DirectiveReader(format, values).run();
}

}  // namespace orch::integration::templates
