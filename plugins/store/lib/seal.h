// What stores on another's server write: values with a checksum, and a record of each batch. Pure.
#pragma once

#include <kj/common.h>

#include <optional>
#include <string>
#include <string_view>

#include "orch/schema/store.capnp.h"

namespace orch::store {

// A value with its checksum before it, which depends on `name` as well: that of its key, without
// what all keys begin with.
std::string seal(std::string_view name, std::string_view content);
// The content within `value`; nothing if it is damaged, or not of this name.
std::optional<std::string_view> unseal(std::string_view name, std::string_view value);

// The batch as a flat message, with or without its values.
std::string flatRecord(schema::Batch::Reader batch, bool values);
// The words of such a message, which need not be aligned.
kj::Array<capnp::word> wordsOf(std::string_view flat);

}  // namespace orch::store
