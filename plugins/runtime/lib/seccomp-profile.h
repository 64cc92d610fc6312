// The system calls that a container may make: docker's default profile, as data. Everything that is
// not allowed fails with EPERM. What is conditional depends on the container's capabilities.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "capabilities.h"

namespace orch::runtime {

// One condition on an argument: `(argument & mask) == value`; a mask of ~0 compares all of it.
struct SyscallArgument {
  unsigned index;
  uint64_t mask;
  uint64_t value;
};

// What is allowed for these names; with `errnoValue` they are refused with it instead of EPERM.
struct SyscallRule {
  std::vector<std::string> names;
  std::vector<SyscallArgument> arguments;
  int errnoValue = 0;
};

// The rules for a container with these capabilities.
std::vector<SyscallRule> seccompRules(CapabilitySet capabilities);
// libseccomp's names of the instruction sets that programs of this machine may use.
std::vector<std::string> seccompArchitectures();

// The profile as a finished filter, in base64, for crun's annotation run.oci.seccomp_bpf_data.
// Compiling takes milliseconds, so each distinct profile is compiled once. Thread-safe. There are
// at most 2^(conditional capabilities) entries; past MAX_ENTRIES the cache starts anew.
class SeccompCache final {
 public:
  static constexpr size_t MAX_ENTRIES = 64;
  std::string filterBase64(CapabilitySet capabilities);

 private:
  std::mutex mutex;
  std::map<uint64_t, std::string> filters;  // by the capabilities that matter to the profile
};

}  // namespace orch::runtime
