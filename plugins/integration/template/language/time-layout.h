// Times as Go writes them, by example: `2006-01-02 15:04:05`. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orch::integration::templates {

// In UTC. What in `layout` stands for no part of a time is printed as it is.
std::string timeText(std::string_view layout, int64_t ns);

}  // namespace orch::integration::templates
