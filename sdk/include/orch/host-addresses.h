// Addresses of hosts, as nodes of a cluster name each other.
#pragma once

#include <kj/string.h>

#include <string>
#include <vector>

namespace orch {

// Of this host, that others might reach it at: IPv4, none of loopback, none of bridges that orch or
// docker made.
std::vector<std::string> hostAddresses();

// `ip:port`, with the port of nodes, 2377, if `address` has none; IPv6 in brackets: `10.0.0.1`,
// `10.0.0.1:2377`, `fd00::1`, `[fd00::1]:2377`.
kj::String withNodePort(kj::StringPtr address);

}  // namespace orch
