#include "state/object.h"

#include <algorithm>

namespace orch::control::manager {

namespace {
constexpr size_t MAX_TEXT = 4 << 10;
}  // namespace

bool isFullId(std::string_view id) {
  return id.size() == FULL_ID && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
         });
}

kj::String shortened(kj::StringPtr text) {
  if (text.size() <= MAX_TEXT) return kj::str(text);
  size_t end = MAX_TEXT;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return kj::str(text.slice(0, end), "…");
}

}  // namespace orch::control::manager
