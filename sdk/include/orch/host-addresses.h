// Of this host, that others might reach it at: IPv4, none of loopback, none of bridges that orch or
// docker made.
#pragma once

#include <string>
#include <vector>

namespace orch {

std::vector<std::string> hostAddresses();

}  // namespace orch
