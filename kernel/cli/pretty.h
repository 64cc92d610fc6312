// Any object for a human: `Name: value` lines, indented, without what is not set; times, durations,
// sizes and cores in words, known by the ends of their fields' names (Ns, Ms, Bytes, Nanos).
#pragma once

#include <capnp/dynamic.h>
#include <kj/string.h>

namespace orch::cli {

kj::String pretty(capnp::DynamicStruct::Reader value);
// The value of one number, in words: `1m30s` of a field whose name ends with Ms.
kj::String amountText(kj::StringPtr field, int64_t value);

}  // namespace orch::cli
