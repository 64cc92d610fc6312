// Entries as consul has them. Pure.
#pragma once

#include <string>
#include <vector>

#include "consul/answer.h"
#include "lib/entry.h"
#include "place.h"

namespace orch::discovery::consul {

// All that is there, of keys below `place.nodes` and `place.details`: sorted, each once. The
// entries' values are their addresses, as classic Swarm's. Fails as a whole if one of them cannot
// be read; details that cannot count as not known.
Answer readEntries(const std::vector<orch::consul::KeyValue>& keys, const Place& place);

// The time to live of a session that is over `ttlMs` after its last renewal: consul waits twice as
// long as it says, and takes 10 s at least.
uint64_t sessionSeconds(uint64_t ttlMs);

}  // namespace orch::discovery::consul
