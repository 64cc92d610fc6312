// The promises of the kind, kept by the plugin's own file against a real server.
#pragma once

#include <catch2/catch.hpp>

#include "lib/testing/test-node.h"

namespace orch::store {

template <typename Backend>
void checkConformance(testing::Isolation isolation, uint32_t maxOps) {
  OneNode<Backend> all("conformance");
  all.node.options.maxOps = maxOps;
  all.node.options.isolation = isolation;
  for (auto& check : conformance::storeChecks()) {
    INFO(check.name);
    CHECK_NOTHROW(check.run(all.node));
  }
}

}  // namespace orch::store
