// Durations, sizes and cores as people write them for flags and in the manifest, and texts that can
// be written there.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace orch {

// As in Go: `10s`, `1m30s`, `100ms`, `1.5h`, or `0`. Nothing if it is none, or more than an int64
// holds.
std::optional<int64_t> parseDurationNs(std::string_view text);
// Nothing also for less than one that is not 0.
std::optional<uint64_t> parseDurationMs(std::string_view text);
// `64m`, `1g`, `512k`, `1.5GiB` or bytes; a unit is a power of 1024. Nothing if it is none, or more
// than an int64 holds.
std::optional<uint64_t> parseSizeBytes(std::string_view text);
// A decimal number of at most a million cores, to the ninth place, in billionths of a core.
std::optional<uint64_t> parseCpuNanos(std::string_view text);

kj::String durationText(uint64_t milliseconds);  // `25h`, `1m30s`, `100ms`, `0s`
kj::String sizeText(uint64_t bytes);             // `16m`, `1g`, else `4194303b`
kj::String coresText(uint64_t nanos);            // `0.5`

// A number without sign or exponent at the beginning of `text`, which is cut off.
std::optional<double> takeDecimal(std::string_view& text);
// Whole decimal digits and nothing else.
std::optional<uint64_t> readDigits(std::string_view text);

}  // namespace orch
