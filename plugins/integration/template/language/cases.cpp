#include "language/cases.h"

#include <locale.h>
#include <wctype.h>

#include <memory>

#include "language/lexer.h"

namespace orch::integration::templates {

namespace {

constexpr std::string_view BLANKS = " \t\n\v\f\r";

struct FreeLocale {
  void operator()(locale_t locale) const { freelocale(locale); }
};
// glibc has this one built in. Without it only ASCII is known.
class Letters final {
 public:
  Letters() : locale(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}

  uint32_t lower(uint32_t c) const {
    if (locale == nullptr || c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return static_cast<uint32_t>(towlower_l(static_cast<wint_t>(c), locale.get()));
  }
  uint32_t upper(uint32_t c) const {
    if (locale == nullptr || c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return static_cast<uint32_t>(towupper_l(static_cast<wint_t>(c), locale.get()));
  }
  bool isWord(uint32_t c) const {
    if (c == '\'' || c == '_') return true;
    bool ascii = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (locale == nullptr || c < 0x80) return ascii;
    return iswalnum_l(static_cast<wint_t>(c), locale.get()) != 0;
  }

 private:
  std::unique_ptr<std::remove_pointer_t<locale_t>, FreeLocale> locale;
};

// `change` gets each character.
template <typename F>
std::string changed(std::string_view text, F&& change) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    auto rune = runeAt(text.substr(at));
    appendRune(out, change(rune.code));
    at += rune.bytes;
  }
  return out;
}

}  // namespace

std::string lowered(std::string_view text) {
  Letters letters;
  return changed(text, [&](uint32_t c) { return letters.lower(c); });
}

std::string raised(std::string_view text) {
  Letters letters;
  return changed(text, [&](uint32_t c) { return letters.upper(c); });
}

std::string titled(std::string_view text) {
  Letters letters;
  bool inWord = false;
  return changed(text, [&](uint32_t c) {
    auto out = inWord ? c : letters.upper(c);
    inWord = letters.isWord(c);
    return out;
  });
}

std::string_view trimmed(std::string_view text, std::string_view cutset, bool left, bool right) {
  auto cut = [&](std::string_view one) { return cutset.find(one) != std::string_view::npos; };
  while (left && !text.empty()) {
    auto bytes = runeAt(text).bytes;
    if (!cut(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    if (!cut(text.substr(begin))) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string_view stripped(std::string_view text) { return trimmed(text, BLANKS, true, true); }

}  // namespace orch::integration::templates
