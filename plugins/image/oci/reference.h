// Names of images, and those that look alike.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "orch/image-reference.h"

namespace orch::image::oci {

inline constexpr std::string_view SHA256 = "sha256:";
using Reference = ImageReference;
inline Reference parseReference(kj::StringPtr text) { return parseImageReference(text); }

// Those of `names` that look like `wanted`, the likeliest first, at most three.
std::vector<std::string> similarNames(const std::string& wanted,
                                      const std::vector<std::string>& names);

}  // namespace orch::image::oci
