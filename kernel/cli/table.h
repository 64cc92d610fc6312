// Columns as the docker CLI prints them: left-aligned, at least ten wide, three spaces apart, the
// last one not padded.
#pragma once

#include <kj/string.h>
#include <kj/vector.h>

#include <initializer_list>

namespace orch::cli {

class Table final {
 public:
  explicit Table(std::initializer_list<kj::StringPtr> headings);
  // One cell per column. Line breaks and other control characters become spaces.
  void row(kj::Array<kj::String> cells);
  kj::String text() const;

 private:
  size_t columns;
  kj::Vector<kj::Array<kj::String>> rows;
};

// Shortens to `width` characters, the last of which is `…`.
kj::String ellipsis(kj::StringPtr text, size_t width);

// How many characters a terminal shows.
size_t displayWidth(kj::StringPtr text);

}  // namespace orch::cli
