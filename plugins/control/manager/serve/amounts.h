// Amounts as a user writes them for a flag, for refusals that name the input.
#pragma once

#include <cstdint>
#include <string>

namespace orch::control::manager {

std::string asDuration(uint64_t milliseconds);  // `25h`, `1h30m`, `100ms`
std::string asSize(uint64_t bytes);             // `16m`, `1g`, else `4194303 bytes`
std::string asCores(uint64_t nanos);            // `0.5`

}  // namespace orch::control::manager
