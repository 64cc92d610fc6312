// The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf of a container.
#pragma once

#include <kj/string.h>

#include "orch/schema/runtime.capnp.h"

namespace orch::runtime {

// docker's standard entries, the user's `name:address` lines, then `address hostname`. With the
// host's network: the host's file instead of the standard entries.
kj::String hostsText(schema::ContainerRequest::Reader request, kj::StringPtr hostname,
                     kj::StringPtr hostsFile);
// The servers, search list and options given; what is not given is the host's. In a network of its
// own, servers of the host that cannot be reached from there are left out: those on its loopback,
// and IPv6. A search domain `.` is none.
kj::String resolvText(schema::ContainerRequest::Reader request, kj::StringPtr resolvFile);
// The host's resolver configuration; behind systemd-resolved that of the real servers.
kj::String hostResolvConf();
kj::String readSmallFile(kj::StringPtr path);  // empty if it cannot be read; at most 1 MiB

}  // namespace orch::runtime
