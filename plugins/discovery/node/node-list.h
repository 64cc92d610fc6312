// The addresses that the settings name. Pure.
#pragma once

#include <string>
#include <vector>

#include "config.capnp.h"

namespace orch::discovery::node {

// Sorted, each once; at least one. Fails with the key and what is accepted.
std::vector<std::string> addressesOf(Config::Reader settings);

}  // namespace orch::discovery::node
