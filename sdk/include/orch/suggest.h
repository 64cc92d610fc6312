// "Did you mean …?", for refusals of a name that there is not.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

namespace orch {

// `; did you mean 'service'?` for the one of `known` that is one step away, or begins with what was
// typed, else for the nearest within a quarter of its length (a swap of neighbours is one step). If
// several begin with it, those: `; there are 'a', 'b'`. Otherwise nothing. `prefix` stands before
// each name. Whoever asks leaves out of `known` what does something else than may be meant.
kj::String suggestion(kj::StringPtr typed, kj::ArrayPtr<const kj::StringPtr> known,
                      kj::StringPtr prefix = "");

// How many letters to add, take away, change or swap with their neighbour to get from one text to
// the other.
size_t stepsBetween(kj::StringPtr a, kj::StringPtr b);

}  // namespace orch
