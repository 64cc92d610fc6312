@0xe1f94d0b5c6a7d38;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::network::ingress");

struct Config {
  table @0 :Text = "orch-ingress";
  # Name of the nftables tables (families ip and netdev) that belong to this plugin alone.

  device @1 :Text = "orch-mesh";
  # Name of the VXLAN device by which connections reach tasks of other nodes, at most 15 characters.

  address @2 :Text;
  # IPv4 address of this host that other hosts send such packets to. Empty: the one that the managers
  # name for this node.

  dataPort @3 :UInt32 = 4789 $Settings.least(1) $Settings.most(65535);
  # UDP port of these packets, on all hosts the same (4789: RFC 7348). Other networks may share it.
}
