#include "name.h"

#include <kj/vector.h>

#include <cctype>
#include <string>
#include <string_view>

#include "orch/kernel-names.h"
#include "orch/suggest.h"
#include "value.h"

namespace orch::cli {

namespace {

bool isAlnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

}  // namespace

kj::String parseServiceName(kj::StringPtr flag, kj::StringPtr text) {
  bool good = text.size() >= 1 && text.size() <= 63 && isAlnum(text[0]);
  for (char c : text) good &= isAlnum(c) || c == '_' || c == '.' || c == '-';
  if (!good) {
    badValue(flag, text,
             "1 to 63 letters, digits, '_', '.' and '-', of which the first is a letter or digit");
  }
  return kj::str(text);
}

kj::String parseHostname(kj::StringPtr flag, kj::StringPtr text) {
  bool good = text.size() >= 1 && text.size() <= 63;
  char before = '.';
  for (char c : text) {
    good &= isAlnum(c) || c == '_' || (c == '-' && before != '.') ||
            (c == '.' && before != '.' && before != '-');
    before = c;
  }
  if (!good || before == '-' || before == '.') {
    badValue(flag, text, "at most 63 letters, digits, '-', '_' and '.'");
  }
  return kj::str(text);
}

kj::String parseCapability(kj::StringPtr flag, kj::StringPtr text) {
  auto name = kj::str(text);
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  kj::StringPtr bare = name;
  if (bare.startsWith("CAP_")) bare = bare.slice(4);
  kj::Vector<kj::StringPtr> known;
  known.add("ALL");
  for (auto one : CAPABILITY_NAMES) known.add(one);
  for (auto one : known) {
    if (one == bare) return kj::str(bare);
  }
  badValue(flag, text, kj::str("a capability such as NET_ADMIN, or ALL", suggestion(bare, known)));
}

kj::String parseSignal(kj::StringPtr flag, kj::StringPtr text) {
  static constexpr kj::StringPtr EXPECTED = "a signal such as SIGTERM, TERM, SIGRTMIN+3 or 15"_kj;
  uint64_t number;
  if (readDigits({text.begin(), text.size()}, number)) {
    if (number < 1 || number > 64) badValue(flag, text, EXPECTED);
    return kj::str(text);
  }
  std::string name;
  for (char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string_view bare = name;
  if (bare.substr(0, 3) == "SIG") bare.remove_prefix(3);
  for (auto& known : SIGNAL_NAMES) {
    if (bare == known.name) return kj::str(text);
  }
  bool realTime = bare == "RTMIN" || bare == "RTMAX";
  if (bare.substr(0, 6) == "RTMIN+" || bare.substr(0, 6) == "RTMAX-") {
    realTime = readDigits(bare.substr(6), number) && number <= 30;
  }
  if (!realTime) badValue(flag, text, EXPECTED);
  return kj::str(text);
}

kj::String parsePath(kj::StringPtr flag, kj::StringPtr text) {
  if (!text.startsWith("/")) badValue(flag, text, "an absolute path");
  return kj::str(text);
}

kj::String parseWord(kj::StringPtr flag, kj::StringPtr text, kj::StringPtr expected) {
  bool good = text.size() > 0;
  for (char c : text) good &= static_cast<unsigned char>(c) > ' ' && c != 0x7f;
  if (!good) badValue(flag, text, expected);
  return kj::str(text);
}

}  // namespace orch::cli
