// The user's terminal, as a program elsewhere needs it.
#pragma once

#include <kj/array.h>
#include <kj/string.h>
#include <termios.h>

#include <string>

namespace orch::cli {

// Keys go to whoever reads the terminal as they are typed, and nothing is done about them here,
// until this is dropped. Nothing happens if `fd` is no terminal.
class RawTerminal final {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal() noexcept(false);
  KJ_DISALLOW_COPY(RawTerminal);

 private:
  const int fd;
  bool changed = false;
  termios before;
};

struct TerminalDimensions {
  uint16_t rows = 0;  // 0: unknown
  uint16_t columns = 0;
};
TerminalDimensions dimensionsOf(int fd);

// Keys by which a user goes away, leaving what he looks at as it is; as docker writes them.
class DetachKeys final {
 public:
  // `ctrl-p,ctrl-q` or `a,ctrl-]`; empty: there are none. Fails with `usage: …`.
  static DetachKeys parse(kj::StringPtr text);

  // What of `typed` is for the program. The beginning of the keys is held back until the next call.
  // `complete` afterwards says whether they have been typed, and then the rest is nobody's.
  kj::Array<kj::byte> pass(kj::ArrayPtr<const kj::byte> typed);
  bool complete() const { return !keys.empty() && matched == keys.size(); }

 private:
  std::string keys;
  size_t matched = 0;
};

}  // namespace orch::cli
