#include "filter.h"

#include <string.h>

#include "value.h"

namespace orch::cli {

namespace {

void checkChoice(const FilterKey& key, Pair& pair, kj::StringPtr typed) {
  if (key.choices.size() == 0) return;
  auto value = lowerCase(pair.value);
  auto padded = kj::str("|", key.choices, "|");
  if (value.size() == 0 || !contains(padded, kj::str("|", value, "|"))) {
    badValue("--filter", typed, kj::str(key.name, "=", key.choices));
  }
  pair.value = kj::mv(value);
}

}  // namespace

Filters::Filters(const Arguments& args, std::initializer_list<FilterKey> keys) {
  auto names = KJ_MAP(key, keys) { return kj::str(key.name, "=…"); };
  for (auto& text : args.values("--filter")) {
    bool known = false;
    auto pair = parseLabel("--filter", text);
    for (auto& key : keys) {
      if (key.name != pair.key) continue;
      known = true;
      checkChoice(key, pair, text);
    }
    if (!known || text.findFirst('=') == nullptr) {
      badValue("--filter", text, kj::strArray(names, ", "));
    }
    pairs.add(kj::mv(pair));
  }
}

bool Filters::allowLabels(kj::StringPtr key, capnp::List<schema::KeyValue>::Reader labels) const {
  for (kj::StringPtr wanted : values(key)) {
    bool found = false;
    for (auto label : labels) {
      found |= wanted == label.getKey() || wanted == kj::str(label.getKey(), "=", label.getValue());
    }
    if (!found) return false;
  }
  return true;
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
