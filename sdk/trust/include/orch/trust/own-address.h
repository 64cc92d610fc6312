// Which addresses this host has, and sends from. Nothing is sent.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace orch::trust {

// Addresses are `ip:port`. The address, without a port, that packets to the other one leave with;
// nothing if there is no way there, or it is a name.
std::optional<std::string> sourceTowards(const std::string& address);
// Whether it is one of this host. So is what is no number, for all that is known, and any where
// net.ipv4.ip_nonlocal_bind is set.
bool isOfThisHost(const std::string& address);
// What takes the place of an address that is gone, with its port: the one towards the first of
// `others` that there is a way to, else the only one that the host has.
std::optional<std::string> addressInstead(const std::string& gone,
                                          const std::vector<std::string>& others);

}  // namespace orch::trust
