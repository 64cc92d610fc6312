// --filter KEY=VALUE: values of one key are alternatives, keys must all hold.
#pragma once

#include "arguments.h"
#include "entry.h"

namespace orch::cli {

class Filters final {
 public:
  // Reads the command's --filter. `keys` are those it knows, for the error: "id, name or mode".
  Filters(const Arguments& args, std::initializer_list<kj::StringPtr> keys);

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
  // The texts of one key.
  kj::Vector<kj::StringPtr> values(kj::StringPtr key) const;

 private:
  kj::Vector<Pair> pairs;
};

bool contains(kj::StringPtr text, kj::StringPtr part);

}  // namespace orch::cli
