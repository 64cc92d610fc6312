// A cluster's authority for tests of whoever only checks what it has signed. The openssl command
// signs.
#pragma once

#include <string>

#include "orch/testing/test-host.h"

namespace orch::testing {

class TestAuthority final {
 public:
  // Its files are in `folder`, which outlives it.
  TestAuthority(TestFolder& folder, const std::string& name);

  // PEM.
  std::string certificate() const;
  // A certificate for `request`. `unit`: `orch-worker`; `name`: what the other end expects of it;
  // `days` that it is valid, which may have passed.
  std::string sign(const std::string& request, const std::string& unit, const std::string& id,
                   const std::string& name = "worker.orch", int days = 1);

 private:
  const std::string base;
  uint32_t count = 0;
};

}  // namespace orch::testing
