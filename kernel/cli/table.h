// Columns as the docker CLI prints them: left-aligned, at least ten wide, three spaces apart, no
// blanks at the end of a line. On a terminal that is too narrow they move together.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

namespace orch::cli {

class Table final {
 public:
  // Line breaks and other control characters become spaces.
  void row(kj::Array<kj::String> cells);
  // In at most `width` columns, if it can be done; 0: as wide as it gets.
  kj::String text(size_t width = 0) const;

 private:
  kj::Vector<kj::Array<kj::String>> rows;
};

// Shortens to `width` characters, the last of which is `…`.
kj::String ellipsis(kj::StringPtr text, size_t width);

// The same for the beginning: what is left is the end.
kj::String ending(kj::StringPtr text, size_t width);

// How many characters a terminal shows.
size_t displayWidth(kj::StringPtr text);

}  // namespace orch::cli
