// What every plugin of kind `store` has to keep (sdk/schema/store.capnp), as checks that know only
// the interface. A store's own tests run them all, also with a maxOps of 8.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

#include "orch/schema/store.capnp.h"

namespace orch::conformance {

// Makes and remakes the store under test. Only the one that was returned last is used.
class StoreFixture {
 public:
  virtual ~StoreFixture() noexcept(false) {}
  // One with nothing in it, whose epoch is 0.
  virtual schema::Store::Client fresh() = 0;
  // Ends the last one and opens its state again, as after a restart.
  virtual schema::Store::Client reopened() = 0;
  virtual kj::WaitScope& waitScope() = 0;
};

struct StoreCheck {
  const char* name;  // a sentence
  void (*run)(StoreFixture& fixture);
};

// Each begins with a fresh store and throws an exception that says what was not kept.
kj::ArrayPtr<const StoreCheck> storeChecks();

}  // namespace orch::conformance
