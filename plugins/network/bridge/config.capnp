@0x99c885ecab8ebd15;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::network::bridge");

struct Config {
  bridge @0 :Text = "orch0";
  # Name of the bridge device, at most 15 characters. It is made if it is not there; one that somebody
  # else made is used as it is and never removed.

  subnet @1 :Text = "172.30.0.0/16";
  # Where the tasks' addresses come from, as ADDRESS/PREFIX with a prefix of 8 to 29. The first address
  # is the gateway's. No other network of the node may overlap with it.

  mtu @2 :UInt32 = 1500 $Settings.least(576) $Settings.most(65535);
  # Of the tasks' devices, in bytes, 576 (RFC 791: what every host takes) to 65535.

  table @3 :Text = "orch";
  # Name of the nftables tables (families ip and ip6) that belong to this plugin alone.

  subnet6 @4 :Text = "fd6f:7263:6800::/64";
  # Where the tasks' IPv6 addresses come from: each has that at the place which its other one has in
  # `subnet`, so it is as large at least. Empty: none; nor have they any on a host without IPv6. It is
  # the same on all nodes, as `subnet` is, since nobody outside sees it.
}
