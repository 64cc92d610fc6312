@0xb7f04a2d91c65e38;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::zookeeper");

struct Config {
  uri @0 :Text;
  # `zk://host:port,host:port/prefix`, as in `[node] discovery`: the servers of one ZooKeeper, at most 16; without a
  # port 2181, without a prefix none.
  path @1 :Text = "docker/swarm/nodes";
  # Below the prefix, where the entries are: classic Swarm's `kv.path`.
  user @2 :Text;
  # Who this node is to ZooKeeper's scheme `digest`: its entries are for this user alone. Default: they are for
  # everybody who reaches the servers, as classic Swarm's.
  passwordFile @3 :Text;
  # File with the password of `user`, in its first line.
  sessionMs @4 :UInt32 = 40000 $Settings.least(1000) $Settings.most(600000);
  # The session that is asked for, with which entries go when this node is gone. The servers grant 2 to 20 of their
  # ticks, which are 2 s by default.
  timeoutMs @5 :UInt64 = 10000 $Settings.least(100) $Settings.most(600000);
  # A request that no server answers in time has failed.
}
