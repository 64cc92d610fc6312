// What the plugin is told, as plain values. What cannot be understood fails with a text that says
// what it was.
#pragma once

#include "others.h"
#include "publication.h"

namespace orch::network::ingress {

std::vector<TaskPort> portsOf(capnp::List<schema::PortSpec>::Reader list);
Ipv4 addressOf(kj::StringPtr text);
// Of IPv6; nothing: there is none.
std::optional<Ipv6> address6Of(kj::StringPtr text);
MeshNews newsOf(schema::MeshChange::Reader change);

}  // namespace orch::network::ingress
