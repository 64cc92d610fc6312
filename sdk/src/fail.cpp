#include "orch/fail.h"

#include <kj/debug.h>

#include <cstring>

namespace orch {

void fail(kj::String text) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::mv(text)));
  KJ_UNREACHABLE;
}

kj::StringPtr plainText(const kj::Exception& exception) {
  kj::StringPtr text = exception.getDescription();
  for (auto prefix : {"remote exception: "_kj, "std::exception: "_kj}) {
    while (text.startsWith(prefix)) text = text.slice(prefix.size());
  }
  // KJ_REQUIRE(a > 0, "a must be at least 1") gives "expected a > 0 [0 > 0]; a must be at least 1".
  if (!text.startsWith("expected ")) return text;
  auto* end = strstr(text.cStr(), "; ");
  return end == nullptr ? text : text.slice(end + 2 - text.begin());
}

}  // namespace orch
