// Which Linux capabilities a container gets.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <string>
#include <vector>

#include "orch/schema/objects.capnp.h"

namespace orch::runtime {

// A set of capabilities, by the kernel's numbers.
class CapabilitySet final {
 public:
  CapabilitySet() = default;
  static CapabilitySet all(unsigned last);  // 0..last
  // The fourteen that docker gives (moby, oci/caps/defaults.go).
  static CapabilitySet dockerDefault();

  bool has(kj::StringPtr name) const;
  bool has(unsigned number) const { return (bits >> number & 1) != 0; }
  void add(unsigned number) { bits |= uint64_t(1) << number; }
  void drop(unsigned number) { bits &= ~(uint64_t(1) << number); }
  std::vector<std::string> names() const;  // `CAP_CHOWN`
  uint64_t mask() const { return bits; }
  void keep(uint64_t mask) { bits &= mask; }

 private:
  uint64_t bits = 0;
};

// docker's rules: `ALL` added is all but the dropped ones; `ALL` dropped is only the added ones;
// else the default, less `drop`, plus `add`. Fails on a name that does not exist. `last` is the
// highest number that the running kernel knows.
CapabilitySet capabilitiesFor(capnp::List<capnp::Text>::Reader add,
                              capnp::List<capnp::Text>::Reader drop, unsigned last);

// From /proc/sys/kernel/cap_last_cap.
unsigned lastCapability();

}  // namespace orch::runtime
