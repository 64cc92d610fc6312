// Settings of the kernel under /proc/sys that are one digit, most of them 0 or 1. Those of the
// network are of the calling thread's namespace. Blocking.
#pragma once

#include <kj/string.h>

namespace orch::network {

// False as well if there is no such switch.
bool isOn(kj::StringPtr path);
// Writes only if it is off: /proc/sys may be mounted read-only where all is set up. Fails with a
// text that says so.
void switchOn(kj::StringPtr path);
// The same for a switch of more than two positions: one digit.
void switchTo(kj::StringPtr path, char position);

}  // namespace orch::network
