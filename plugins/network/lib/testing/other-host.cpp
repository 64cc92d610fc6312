#include "lib/testing/other-host.h"

#include <kj/debug.h>

#include "lib/netns.h"
#include "lib/rtnetlink.h"

namespace orch::network {

OtherHost::OtherHost(kj::StringPtr folder) : pin(kj::str(folder, "/other-host").cStr()) {
  auto other = makeNamespace(pin.c_str());
  KJ_ON_SCOPE_FAILURE(dropPin(pin.c_str()));
  VethSpec wire;
  wire.hostName = "wire";
  wire.peerName = "wire";
  wire.peerMac = macOf(*parseIpv4(OTHER_ADDRESS));
  wire.peerNamespace = other.handle;
  Rtnetlink net;
  net.run(newVeth(wire));
  auto own = net.link("wire")->index;
  net.run(newAddress(own, *parseIpv4(NODE_ADDRESS), 24),
          newAddress(own, *parseIpv6(NODE_ADDRESS6), 64));
  auto end = other.inside->link("wire")->index;
  other.inside->run(linkUp(1), linkUp(end), newAddress(end, *parseIpv4(OTHER_ADDRESS), 24),
                    newAddress(end, *parseIpv6(OTHER_ADDRESS6), 64));
}

OtherHost::~OtherHost() noexcept(false) { dropPin(pin.c_str()); }

}  // namespace orch::network
