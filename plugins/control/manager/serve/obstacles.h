// Why a slot will not come to run by itself, for those who wait for it. Pure.
#pragma once

#include "decide/slot-rules.h"
#include "decide/spec-meaning.h"
#include "schedule/placement.h"

namespace orch::control::manager {

// The error of the newest of three tasks in a row that ended before they ran, or within five
// seconds of it, all made from what the service is now: an image or a mount that is not there, a
// program that crashes. Its restart policy goes on trying. Empty if it is not so.
std::string whyNeverStays(CurrentSpec& current, const Slot& slot);

// Why the new task of a slot finds no node while the old one runs (start-first), although it would
// find one without it. Empty if it is not so.
std::string whyOldIsInTheWay(const View& view, schema::Service::Reader service, const Slot& slot,
                             Room& room);

}  // namespace orch::control::manager
