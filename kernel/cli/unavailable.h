// What docker's users type and orch does not have: answered with what does it here, or with "not
// available yet". All of it is in the tables of unavailable.cpp.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

namespace orch::cli {

// What to say of a command that begins with `words`, or empty if docker has none of that name.
kj::String unavailableCommand(kj::ArrayPtr<const kj::String> words);

// Why the command `path` ("service create") has no such flag, or empty if docker has none either.
kj::String unavailableFlag(kj::StringPtr path, kj::StringPtr flag);

// The place of `value` in `choices`. Fails if it is one of `later` (as `choices`), saying that it
// is not available yet, or neither.
unsigned parseAvailable(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices,
                        kj::StringPtr later);

// All that the tables point at, for the test that it is there: `orch service create`.
kj::Array<kj::StringPtr> answersOfCommands();

}  // namespace orch::cli
