// What a user types, or has a script write, that nobody else should see.
#pragma once

#include <kj/common.h>
#include <kj/string.h>
#include <termios.h>

#include <string>

namespace orch::cli {

// From stdin, without the end of its line: all that there is, or one line. `what`: as in "the
// login". A little more than 8 KiB at most.
std::string readInput(kj::StringPtr what, bool line);

// The terminal does not show what is typed, but for the end of the line, as long as this lives.
class HiddenTyping final {
 public:
  HiddenTyping();
  ~HiddenTyping();
  KJ_DISALLOW_COPY(HiddenTyping);
};

}  // namespace orch::cli
