#include "table.h"

#include <kj/debug.h>

namespace orch::cli {

namespace {

constexpr size_t MIN_WIDTH = 10;
constexpr size_t GAP = 3;

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

size_t displayWidth(kj::StringPtr text) {
  size_t width = 0;
  for (char c : text) width += !continues(c);
  return width;
}

kj::String ellipsis(kj::StringPtr text, size_t width) {
  if (displayWidth(text) <= width) return kj::str(text);
  size_t end = 0;
  for (size_t shown = 0; end < text.size(); ++end) {
    if (!continues(text[end]) && ++shown == width) break;
  }
  return kj::str(kj::heapString(text.begin(), end), "…");
}

Table::Table(std::initializer_list<kj::StringPtr> headings) : columns(headings.size()) {
  auto cells = kj::heapArrayBuilder<kj::String>(columns);
  for (kj::StringPtr heading : headings) cells.add(kj::str(heading));
  rows.add(cells.finish());
}

void Table::row(kj::Array<kj::String> cells) {
  KJ_REQUIRE(cells.size() == columns, "a row has as many cells as the table has columns");
  for (kj::String& cell : cells) {
    for (char& c : cell) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
    }
  }
  rows.add(kj::mv(cells));
}

kj::String Table::text() const {
  auto widths = kj::heapArray<size_t>(columns);
  for (size_t& width : widths) width = MIN_WIDTH;
  for (auto& cells : rows) {
    for (size_t i = 0; i < columns; ++i) {
      widths[i] = kj::max(widths[i], displayWidth(cells[i]) + GAP);
    }
  }
  kj::Vector<char> out;
  for (auto& cells : rows) {
    for (size_t i = 0; i < columns; ++i) {
      out.addAll(cells[i]);
      if (i + 1 == columns) break;
      for (size_t n = displayWidth(cells[i]); n < widths[i]; ++n) out.add(' ');
    }
    out.add('\n');
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

}  // namespace orch::cli
