// What of a network that users ask for is of IPv6.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

// An address or a subnet, as far as the one or the other kind is meant.
bool isIpv6(capnp::Text::Reader value);
// Fails if anything of it was given, though none was asked for.
void refuseIpv6(schema::Network::Reader spec);
// Of either kind: fails if something was given that is only together with a subnet.
void refuseWithoutSubnet(schema::Network::Reader spec, bool ipv6);
// What `network`, whose IPv4 is complete, is to have of IPv6.
void fillIpv6(const View& view, schema::Network::Reader spec, schema::Network::Builder network);

}  // namespace orch::control::manager
