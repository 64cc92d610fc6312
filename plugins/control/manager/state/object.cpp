#include "state/object.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_TEXT = 4 << 10;
}  // namespace

kj::String shortened(kj::StringPtr text) {
  if (text.size() <= MAX_TEXT) return kj::str(text);
  size_t end = MAX_TEXT;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return kj::str(text.slice(0, end), "…");
}

}  // namespace orch::control::manager
