// Times and amounts in words, as the docker CLI says them.
#pragma once

#include <kj/string.h>

#include <cstdint>

#include "orch/json/json.h"  // timestamp

namespace orch::cli {

// `Less than a second`, `About a minute`, `3 hours`, `5 weeks`. A time to come counts as now.
kj::String humanDuration(int64_t nanoseconds);

// `Running` and a moment: `Running 2 minutes ago`; without a moment the word alone.
kj::String sinceText(kj::StringPtr word, int64_t atNs, int64_t nowNs);

// Decimal units, three digits: `4.26MB`.
kj::String humanSize(uint64_t bytes);

// How long something took, for a table: `512us`, `33ms`, `2.1s`.
kj::String shortDuration(uint64_t microseconds);

// `64MiB`, `1.5GiB`, else `1000B`.
kj::String binarySize(uint64_t bytes);

// The first 12 characters, as docker shows ids, without a leading `sha256:`.
kj::String shortId(kj::StringPtr id, bool whole = false);

// The first letter as a capital one.
kj::String capitalized(kj::StringPtr word);

}  // namespace orch::cli
