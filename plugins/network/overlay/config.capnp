@0xb3d0c1f27a9e4c55;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::network::overlay");

struct Config {
  address @0 :Text;
  # IPv4 address of this host that other hosts send the networks' packets to. Empty: the one that the
  # managers name for this node.

  dataPort @1 :UInt32 = 4789 $Settings.least(1) $Settings.most(65535);
  # UDP port of these packets, on all hosts the same (4789: RFC 7348).

  balancer @2 :Text = "auto";
  # What balances virtual addresses: `ipvs`, `nft`, or `auto`: IPVS where the kernel has it, else nft.

  encryptionPort @3 :UInt32 = 51820 $Settings.least(1) $Settings.most(65535);
  # UDP port of encrypted networks' packets, on all hosts the same (51820: WireGuard's own examples).

  wireguardGo @4 :Text = "wireguard-go";
  # Makes the tunnel of encrypted networks where the kernel has no WireGuard. A path, or a name that is
  # looked up in PATH.
}
