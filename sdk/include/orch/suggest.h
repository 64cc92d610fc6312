// "Did you mean …?"
#pragma once

#include <kj/array.h>
#include <kj/string.h>

namespace orch {

// The nearest of `known` (a swap of neighbours is one step), or empty if none is within a third of
// its length. Borrows from `known`.
kj::StringPtr nearest(kj::StringPtr mistyped, kj::ArrayPtr<const kj::StringPtr> known);

// `; did you mean 'service'?`, or nothing.
kj::String suggestion(kj::StringPtr mistyped, kj::ArrayPtr<const kj::StringPtr> known);

}  // namespace orch
