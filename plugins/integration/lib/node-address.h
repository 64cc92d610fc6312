// Where others reach this node's published ports, if no setting says it.
#pragma once

#include <string>
#include <string_view>

#include "orch/host.h"
#include "orch/task.h"

namespace orch::integration {

// `10.0.0.1` of `10.0.0.1:2377`, `fd00::1` of `[fd00::1]:2377`.
std::string hostPartOf(std::string_view hostPort);

// A setting: an address, or nothing. Fails, with what is accepted.
void checkAddress(const std::string& address);

// As its cluster knows it, else the first of the host, else 127.0.0.1. `host` outlives it.
Task<std::string> nodeAddress(Host& host);

}  // namespace orch::integration
