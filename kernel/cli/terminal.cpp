#include "terminal.h"

#include <kj/debug.h>
#include <kj/vector.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "orch/fail.h"

namespace orch::cli {

RawTerminal::RawTerminal(int fd) : fd(fd) {
  if (tcgetattr(fd, &before) != 0) return;
  termios raw = before;
  cfmakeraw(&raw);
  changed = tcsetattr(fd, TCSADRAIN, &raw) == 0;
}

RawTerminal::~RawTerminal() noexcept(false) {
  if (changed) tcsetattr(fd, TCSADRAIN, &before);
}

TerminalDimensions dimensionsOf(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_row, size.ws_col};
}

DetachKeys DetachKeys::parse(kj::StringPtr text) {
  DetachKeys result;
  if (text.size() == 0) return result;
  std::string rest = text.cStr();
  for (bool more = true; more;) {
    auto comma = rest.find(',');
    more = comma != std::string::npos;
    auto key = rest.substr(0, comma);
    if (more) rest.erase(0, comma + 1);
    bool control = key.size() == 6 && key.compare(0, 5, "ctrl-") == 0;
    char letter = key.empty() ? 0 : key.back();
    bool known =
        (letter >= 'a' && letter <= 'z') || (letter >= '[' && letter <= '_') || letter == '@';
    if (control && known) {
      result.keys += static_cast<char>(letter & 0x1f);
    } else if (key.size() == 1) {
      result.keys += letter;
    } else {
      fail(kj::str("usage: --detach-keys '", text, "': '", key.c_str(),
                   "' is no key; write a letter, or ctrl- and one of a-z @ [ \\ ] ^ _"));
    }
  }
  return result;
}

kj::Array<kj::byte> DetachKeys::pass(kj::ArrayPtr<const kj::byte> typed) {
  kj::Vector<kj::byte> passed;
  for (auto byte : typed) {
    if (complete()) break;
    if (!keys.empty() && static_cast<kj::byte>(keys[matched]) == byte) {
      ++matched;
      continue;
    }
    for (size_t i = 0; i < matched; ++i) passed.add(keys[i]);
    matched = !keys.empty() && static_cast<kj::byte>(keys[0]) == byte ? 1 : 0;
    if (matched == 0) passed.add(byte);
  }
  return passed.releaseAsArray();
}

}  // namespace orch::cli
