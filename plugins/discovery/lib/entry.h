// Entries in stores of keys and values, where classic Swarm keeps them. Pure.
#pragma once

#include <map>
#include <string>

#include "lib/watchers.h"
#include "orch/schema/discovery.capnp.h"

namespace orch::discovery {

// Fails, by field, with what is accepted.
void checkEntry(schema::DiscoveryEntry::Reader entry, uint64_t ttlMs);
// What classic Swarm has no room for: `manager DIGEST NODE`; `-` for what is not known.
std::string detailsOf(schema::DiscoveryEntry::Reader entry);
// The answer that names these, sorted: details by address. Details that cannot be read count as not
// known. Fails if there are too many.
Answer answerWith(const std::map<std::string, std::string>& details);

// All that is there, of keys and values below `nodes` and `details`: folders that end with `/`.
// The entries' values are their addresses, as classic Swarm's. Fails as a whole if one of them
// cannot be read.
Answer answerOfKeys(const std::map<std::string, std::string>& keys, const std::string& nodes,
                    const std::string& details);

}  // namespace orch::discovery
