// The syntax of image references: https://github.com/distribution/reference (grammar of v0.6).
#pragma once

#include <string>
#include <string_view>

namespace orch::control::manager {

// Why it is no reference; empty if it is one.
std::string referenceProblem(std::string_view reference);

}  // namespace orch::control::manager
