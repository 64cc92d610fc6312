// Settings of the kernel under /proc/sys that are one digit, most of them 0 or 1. Those of the
// network are of the calling thread's namespace. Blocking.
#pragma once

#include <kj/string.h>

namespace orch::network {

// False as well if there is no such switch.
bool isOn(kj::StringPtr path);
// Whether there is such a switch, and it is at this position.
bool isIn(kj::StringPtr path, char position);
// Whether this host has IPv6, and nobody has switched it off.
bool hasIpv6();
// Lets the host pass on packets of IPv6, as ip_forward does for IPv4. The kernel has that for all
// devices only, and hears of no router any more then, by which a host may have its own address and
// way out: devices that did so far go on.
void forwardIpv6();
// Writes only if it is off: /proc/sys may be mounted read-only where all is set up. Fails with a
// text that says so.
void switchOn(kj::StringPtr path);
// The same for a switch of more than two positions: one digit.
void switchTo(kj::StringPtr path, char position);

}  // namespace orch::network
