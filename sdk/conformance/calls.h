// What several suites do with calls: those that are refused, and those that are let go of.
#pragma once

#include <kj/async.h>
#include <kj/common.h>
#include <kj/string.h>

namespace orch::conformance {

// RFC 5737: nobody is there. No packet is sent to it.
constexpr const char* SOMEWHERE = "192.0.2.1";
// At so many different moments a call is let go of.
constexpr int MOMENTS = 6;

// Ids that no task and no network can have.
kj::ArrayPtr<const kj::StringPtr> badIds();
// The call fails, for a mistake of its caller's, with a text that has `named` in it. `what`: what
// is wrong with it.
void requireRefused(kj::WaitScope& waitScope, kj::StringPtr what, kj::StringPtr named,
                    kj::Promise<void> call);
// Lets go of a call that is under way, each moment somewhere else.
void dropAt(int moment, kj::WaitScope& waitScope, kj::Promise<void> call);

}  // namespace orch::conformance
