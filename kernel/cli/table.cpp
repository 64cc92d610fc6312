#include "table.h"

#include <utility>

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

kj::String ending(kj::StringPtr text, size_t width) {
  size_t left = displayWidth(text);
  if (left <= width) return kj::str(text);
  while (left >= width) {
    text = text.slice(1);
    left -= !continues(text[0]);
  }
  return kj::str("…", text);
}

void Table::row(kj::Array<kj::String> cells) {
  for (kj::String& cell : cells) {
    for (char& c : cell) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
    }
  }
  rows.add(kj::mv(cells));
}

kj::String Table::text(size_t width) const {
  kj::Vector<size_t> content;
  for (auto& cells : rows) {
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i == content.size()) content.add(size_t(0));
      content[i] = kj::max(content[i], displayWidth(cells[i]));
    }
  }
  kj::Vector<size_t> widths;
  for (auto [least, gap] : {std::pair(MIN_WIDTH, GAP), std::pair(0ul, 2ul), std::pair(0ul, 1ul)}) {
    widths.clear();
    size_t sum = 0;
    for (size_t one : content) sum += widths.add(kj::max(least, one + gap));
    if (width == 0 || sum <= width + gap) break;
  }
  kj::Vector<char> out;
  for (auto& cells : rows) {
    size_t blanks = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (cells[i].size() > 0) {
        for (; blanks > 0; --blanks) out.add(' ');
      }
      out.addAll(cells[i]);
      blanks += widths[i] - displayWidth(cells[i]);
    }
    out.add('\n');
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

}  // namespace orch::cli
