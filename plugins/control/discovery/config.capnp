@0xda1d59348df39de6;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::control::discovery");

struct Config {
  massLossOneIn @0 :UInt32 = 3 $Settings.least(1) $Settings.most(1000);
  # If more than one in so many entries of a backend vanishes in one answer, they are kept for a while.
  # 1: never.
  graceMs @1 :UInt64 = 300000 $Settings.least(0) $Settings.most(86400000);
  # And for so long. Longer than the beats of hosts that have to register again at a hub that lost them.
  heartbeatMs @2 :UInt64 = 60000 $Settings.least(1000) $Settings.most(3600000);
  # How often this node's entry is renewed, give or take a tenth.
  ttlMs @3 :UInt64 = 180000 $Settings.least(1000) $Settings.most(86400000);
  # How long a backend keeps it without that. More than one beat and its tenth.
}
