// What a hub answers and is asked. Pure.
#pragma once

#include <kj/string.h>

#include <string>

#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::discovery::token {

// A JSON array of addresses, as classic's hub answers, or of objects with role, clusterDigest and
// nodeId. Sorted, each once. Fails as a whole if one of them cannot be read.
Answer readAnswer(kj::StringPtr json);

// The address as a hub wants it, and the rest as the query of a URL. Fails, by field, with what is
// accepted.
void checkEntry(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);
std::string registrationQuery(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);

}  // namespace orch::discovery::token
