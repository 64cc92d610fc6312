// From what a user typed (a name, an id, the beginning of one) to an object. Every function fails
// with a text for the user if there is none or more than one.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

std::string resolveService(const View& view, kj::StringPtr typed);
// An id, the beginning of one, or `web.1`: the newest task of that slot.
std::string resolveTask(const View& view, kj::StringPtr typed);
// One that users made.
std::string resolveNetwork(const View& view, kj::StringPtr typed);
// `self` is `ownId`.
std::string resolveNode(const View& view, kj::StringPtr typed, kj::StringPtr ownId);

// orch/suggest.h for names of the state.
std::string suggestion(std::string_view typed, const std::vector<std::string>& names);

}  // namespace orch::control::manager
