// Which services have to be there before others are started. Pure.
//
// A service waits with its first tasks: a slot none of whose tasks has run gets no node before all
// its dependencies are what it wants, and a job with the first ones of each run. What has run once
// is restarted, moved and rolled back whatever has become of them since, and is not stopped for it.
// An update waits before it replaces anything, also while one of a dependency is under way.
#pragma once

#include <string>
#include <vector>

#include "decide/slot-rules.h"

namespace orch::control::manager {

// What it waits for: `waits for service 'db' to be healthy`. Empty: nothing.
std::string unmetDependency(const View& view, schema::Service::Reader service);
// The same of the one of that id; nothing if it is gone.
std::string unmetDependency(const View& view, std::string_view serviceId);
// Whether no task of the slot, of those that are remembered, has run; of a job, in its newest run.
bool isFirstStart(const Slot& slot);

// Refuses what cannot be: a cycle is shown, `a → b → a`. `spec` need not be in the view.
void checkDependencies(const View& view, schema::ServiceSpec::Reader spec,
                       std::vector<std::string>& warnings);
// That of those that depend on the service and are left, if it is removed; empty: none does.
std::string leftBehind(const View& view, schema::Service::Reader service);

// Of services that wait because of what this one is: what may have to be looked at again when it
// has changed.
std::vector<std::string> waitingFor(const View& view, std::string_view serviceName);

}  // namespace orch::control::manager
