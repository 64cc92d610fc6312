#include "filter.h"

#include <string.h>

#include "value.h"

namespace orch::cli {

Filters::Filters(const Arguments& args, std::initializer_list<kj::StringPtr> keys) {
  auto names = KJ_MAP(key, keys) { return kj::str(key, "=…"); };
  for (auto& text : args.values("--filter")) {
    bool known = false;
    auto pair = parseLabel("--filter", text);
    for (auto key : keys) known |= key == pair.key;
    if (!known || text.findFirst('=') == nullptr) {
      badValue("--filter", text, kj::strArray(names, ", "));
    }
    pairs.add(kj::mv(pair));
  }
}

kj::Vector<kj::StringPtr> Filters::values(kj::StringPtr key) const {
  kj::Vector<kj::StringPtr> found;
  for (auto& pair : pairs) {
    if (pair.key == key) found.add(pair.value);
  }
  return found;
}

bool contains(kj::StringPtr text, kj::StringPtr part) {
  return strstr(text.cStr(), part.cStr()) != nullptr;
}

}  // namespace orch::cli
