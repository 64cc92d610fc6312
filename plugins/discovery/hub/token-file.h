// The tokens that a hub has given out, so that a restart loses none. Blocks.
#pragma once

#include <string>
#include <vector>

namespace orch::discovery::hub {

// Replaces `folder`/clusters, and makes the folder if need be; it outlives a loss of power.
void writeTokens(const std::string& folder, const std::vector<std::string>& tokens);
// None if there is no such file. Fails if it is damaged, with what to do.
std::vector<std::string> readTokens(const std::string& folder);

}  // namespace orch::discovery::hub
