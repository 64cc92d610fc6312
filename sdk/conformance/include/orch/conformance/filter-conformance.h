// What every plugin of kind `filter` has to keep (sdk/schema/filter.capnp), as checks that know
// only the interface. What a filter's expressions mean is its own: it brings a table of them.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

#include <vector>

#include "orch/schema/filter.capnp.h"

namespace orch::conformance {

struct FilterCase {
  const char* expression;
  std::vector<const char*> values;  // of the keys that it names, in their order
  bool met;
};
struct FilterTable {
  std::vector<FilterCase> cases;     // with at least two outcomes
  std::vector<const char*> refused;  // expressions that mean nothing
};

struct FilterCheck {
  const char* name;  // a sentence
  void (*run)(schema::Filter::Client filter, const FilterTable& table, kj::WaitScope& waitScope);
};

// Each throws an exception that says what was not kept.
kj::ArrayPtr<const FilterCheck> filterChecks();

}  // namespace orch::conformance
