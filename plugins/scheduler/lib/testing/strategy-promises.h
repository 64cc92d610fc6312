// The promises of the kind, kept by a strategy's own file, in orchd and in a process of its own.
#pragma once

#include "orch/conformance/scheduler-conformance.h"
#include "orch/testing/both-isolations.h"

namespace orch::scheduler {

// `service`: its name, `scheduler.spread`.
template <typename Config>
void checkPromises(kj::StringPtr service) {
  auto check = [](schema::Scheduler::Client scheduler, kj::WaitScope& waitScope) {
    for (auto& check : conformance::schedulerChecks()) {
      INFO(check.name);
      CHECK_NOTHROW(check.run(scheduler, waitScope));
    }
  };
  testing::inBothIsolations<schema::Scheduler, Config>(ORCH_MODULE, service, check);
}

}  // namespace orch::scheduler
