#include "orch/fail.h"

#include <kj/debug.h>

namespace orch {

void fail(kj::String text) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::mv(text)));
  KJ_UNREACHABLE;
}

kj::StringPtr plainText(const kj::Exception& exception) {
  static constexpr kj::StringPtr PREFIX = "remote exception: "_kj;
  kj::StringPtr text = exception.getDescription();
  while (text.startsWith(PREFIX)) text = text.slice(PREFIX.size());
  return text;
}

}  // namespace orch
