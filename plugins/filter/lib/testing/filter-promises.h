// The promises of the kind, kept by a filter's own file, in orchd and in a process of its own.
#pragma once

#include "orch/conformance/filter-conformance.h"
#include "orch/testing/both-isolations.h"

namespace orch::filter {

// `service`: its name, `filter.constraint`.
template <typename Config>
void checkPromises(kj::StringPtr service, const conformance::FilterTable& table) {
  auto check = [&](schema::Filter::Client filter, kj::WaitScope& waitScope) {
    for (auto& check : conformance::filterChecks()) {
      INFO(check.name);
      CHECK_NOTHROW(check.run(filter, table, waitScope));
    }
  };
  testing::inBothIsolations<schema::Filter, Config>(ORCH_MODULE, service, check);
}

}  // namespace orch::filter
