// Objects of the schemas as JSON, as `orch … --json` prints them and `api.http` answers. Cap'n
// Proto's own: names as in the schemas, enums by name, numbers as numbers but for those of 64 bits
// that a double cannot hold, which are texts. May be called on any thread.
#pragma once

#include <capnp/dynamic.h>
#include <kj/string.h>

#include "orch/schema/runtime.capnp.h"

namespace orch {

kj::String toJson(capnp::DynamicStruct::Reader value, bool oneLine);
kj::String toJson(capnp::DynamicList::Reader value);
kj::String toJson(capnp::DynamicValue::Reader value);  // in one line
// A text with its quotes and escapes. Bytes that are not UTF-8 become U+FFFD.
kj::String jsonText(kj::ArrayPtr<const char> text);
// Of documents that are JSON already, each in a line of its own.
kj::String jsonArray(kj::ArrayPtr<const kj::String> items);

// `2026-08-03T12:00:00.123456789Z`.
kj::String timestamp(int64_t ns);
// A line of a container's log in one line; `text` is all of it.
kj::String logLineJson(schema::LogLine::Reader line, kj::ArrayPtr<const char> text);

}  // namespace orch
