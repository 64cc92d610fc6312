// --filter KEY=VALUE: values of one key are alternatives, keys must all hold.
#pragma once

#include "arguments.h"
#include "entry.h"

namespace orch::cli {

// A key of a filter, and its values if these are all: "manager|worker".
struct FilterKey {
  FilterKey(const char* name, const char* choices = "") : name(name), choices(choices) {}
  kj::StringPtr name;
  kj::StringPtr choices;
};

bool contains(kj::StringPtr text, kj::StringPtr part);

class Filters final {
 public:
  // Reads the command's --filter. `keys` are those it knows, for the error: "id, name or mode". A
  // value that is one of a key's choices may be in capitals.
  Filters(const Arguments& args, std::initializer_list<FilterKey> keys);

  // Whether there is no filter of that key, or `matches` is true for one of its values.
  template <typename F>
  bool allow(kj::StringPtr key, F&& matches) const {
    bool any = false;
    for (auto& pair : pairs) {
      if (pair.key != key) continue;
      if (matches(kj::StringPtr(pair.value))) return true;
      any = true;
    }
    return !any;
  }
  // That `text` begins with a value, is one, or holds one.
  bool allowPrefix(kj::StringPtr key, kj::StringPtr text) const {
    return allow(key, [&](kj::StringPtr value) { return text.startsWith(value); });
  }
  bool allowSame(kj::StringPtr key, kj::StringPtr text) const {
    return allow(key, [&](kj::StringPtr value) { return text == value; });
  }
  bool allowPart(kj::StringPtr key, kj::StringPtr text) const {
    return allow(key, [&](kj::StringPtr value) { return contains(text, value); });
  }
  // Whether all labels are there that the filters of `key` name, as `name` or `name=value`.
  bool allowLabels(kj::StringPtr key, capnp::List<schema::KeyValue>::Reader labels) const;
  // The texts of one key.
  kj::Vector<kj::StringPtr> values(kj::StringPtr key) const;

 private:
  kj::Vector<Pair> pairs;
};

}  // namespace orch::cli
