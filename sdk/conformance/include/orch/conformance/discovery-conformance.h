// What every plugin of kind `discovery` has to keep (sdk/schema/discovery.capnp), as checks that
// know only the interface, and the subject's ways to make the outside do things.
#pragma once

#include <kj/async.h>
#include <kj/common.h>
#include <kj/function.h>

#include <string>
#include <vector>

#include "orch/schema/discovery.capnp.h"

namespace orch::conformance {

// One backend, made anew for each check.
class DiscoverySubject {
 public:
  virtual ~DiscoverySubject() noexcept(false) {}
  virtual kj::WaitScope& waitScope() = 0;
  virtual schema::Discovery::Client backend() = 0;
  // What is there at the beginning: sorted, at least two.
  virtual std::vector<std::string> present() = 0;
  // Lets the loop turn and, where the backend polls, time pass until `reached`; fails with `what`
  // if that does not come.
  virtual void until(kj::StringPtr what, kj::Function<bool()> reached) = 0;

  // Whether it can be registered at.
  virtual bool writable() { return false; }
  // Whether what is there can change: then the outside puts exactly these there, makes the place
  // unreadable (and readable again by the next `put`), or leaves nobody in it.
  virtual bool changes() { return false; }
  virtual void put(const std::vector<std::string>& /*addresses*/) {}
  virtual void damage() {}
  virtual void leaveNobody() { put({}); }
};

struct DiscoveryCheck {
  const char* name;  // a sentence
  void (*run)(DiscoverySubject& subject);
};

// Each needs a subject of its own and throws an exception that says what was not kept.
kj::ArrayPtr<const DiscoveryCheck> discoveryChecks();

// ---- for further tests of a backend, and of what stands on it
// ---------------------------------------------

struct SeenByWatch {
  std::vector<std::vector<std::string>> lists;  // addresses of each call, in order
  std::vector<std::string> failures;
  bool ended = false;                       // the sink was dropped
  kj::Maybe<kj::ForkedPromise<void>> held;  // a call returns when this is there
};
// A sink that keeps what it gets. `seen` outlives it.
schema::DiscoverySink::Client keepSeen(SeenByWatch& seen);

}  // namespace orch::conformance
