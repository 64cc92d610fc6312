@0x98b56c73c9568af3;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::hub");

struct Config {
  listen @0 :Text = "127.0.0.1:2378";
  # Where it answers. Whoever reaches this address and knows a token reads and writes that cluster's list.
  certificateFile @1 :Text;
  # A certificate with its chain, as PEM. With it and `keyFile` it speaks HTTPS, without both plain HTTP.
  keyFile @2 :Text;
  # Its private key, as PEM.
  maxClusters @3 :UInt32 = 1000 $Settings.least(1) $Settings.most(100000);
  # With so many no more are made, unless one has been idle for long.
  forgetAfterMs @4 :UInt64 = 604800000 $Settings.least(60000);
  # So long nobody has to have asked for a cluster, or registered in it, since this hub has started,
  # before it makes room for another.
  maxEntries @5 :UInt32 = 10000 $Settings.least(1) $Settings.most(10000);
  # Of one cluster.
  maxAllEntries @6 :UInt32 = 100000 $Settings.least(1) $Settings.most(1000000);
  # Of all clusters together.
  createsPerMinute @7 :UInt32 = 10 $Settings.least(1) $Settings.most(100000);
  # Clusters that one client address may make.
  requestsPerSecond @8 :UInt32 = 100 $Settings.least(1) $Settings.most(100000);
  # Requests of one client address; as many again may come at once.
}
