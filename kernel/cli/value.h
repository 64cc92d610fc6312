// Single values as docker users write them. Each function takes the name of the flag (for the error
// only) and the text, and fails with one line `usage: invalid value '…' for --flag: expected …`.
// Nothing here touches the world.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <string_view>

namespace orch::cli {

inline std::string_view view(kj::StringPtr text) { return {text.begin(), text.size()}; }

// Fails as above. `expected` completes "expected …".
[[noreturn]] void badValue(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr expected);

// orch/amounts.h for flags. Anything past `mostMs` is refused: the server takes a year at most.
inline constexpr uint64_t MAX_DURATION_MS = 365ull * 24 * 3600 * 1000;
uint64_t parseDurationMs(kj::StringPtr flag, kj::StringPtr value,
                         uint64_t mostMs = MAX_DURATION_MS);

// Of a certificate: never 0, which the server takes for no change.
uint64_t parseExpiryMs(kj::StringPtr flag, kj::StringPtr value);

uint64_t parseSizeBytes(kj::StringPtr flag, kj::StringPtr value);
// 0 or at least 0.001 cores.
uint64_t parseCpuNanos(kj::StringPtr flag, kj::StringPtr value);

uint64_t parseWhole(kj::StringPtr flag, kj::StringPtr value, uint64_t least, uint64_t most);
int64_t parseInteger(kj::StringPtr flag, kj::StringPtr value, int64_t least, int64_t most);

// 0 to 1.
float parseRatio(kj::StringPtr flag, kj::StringPtr value);

// `true`, `false`, `1` or `0`.
bool parseBool(kj::StringPtr flag, kj::StringPtr value);

// Not empty and without spaces: names of users, networks, images.
kj::String parseWord(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr expected);

// ASCII only.
kj::String lowerCase(kj::StringPtr text);

// The place of `value` in `choices` ("any|on-failure|none"), from 0.
unsigned parseChoice(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices);

// A moment: RFC 3339 (`2026-08-03T12:00:00Z`, a date alone is its midnight UTC), seconds since the
// epoch with an optional fraction, or a duration before `nowNs`. In nanoseconds since the epoch.
int64_t parseMomentNs(kj::StringPtr flag, kj::StringPtr value, int64_t nowNs);

}  // namespace orch::cli
