// What users of docker may type and orch does not have, so that it is called by its name rather
// than unknown.
#pragma once

#include <kj/string.h>

namespace orch::cli {

// Why the command `path` ("service create") has no such flag, or empty if docker has none either.
kj::String unavailableFlag(kj::StringPtr path, kj::StringPtr flag);
// The same for a command, of two words.
kj::String unavailableCommand(kj::StringPtr noun, kj::StringPtr verb);

// The place of `value` in `choices`. Fails if it is one of `later` (as `choices`), saying that it
// is not available yet, or neither.
unsigned parseAvailable(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices,
                        kj::StringPtr later);

}  // namespace orch::cli
