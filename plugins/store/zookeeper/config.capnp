@0xc1d5b6f8230a94e7;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::store::zookeeper");

struct Config {
  endpoints @0 :List(Text);
  # The servers, as `10.0.0.1:2181`, at most 16. One of them is connected to, and another one when it
  # is lost. None: `127.0.0.1:2181`.

  prefix @1 :Text = "/orch";
  # The node below which all of this cluster's are: a path of 2 to 128 characters. Two clusters on one
  # ZooKeeper need prefixes of which none is below the other.

  user @2 :Text;
  # Who this node is to ZooKeeper's scheme `digest`: what it makes is for this user alone. Default:
  # what it makes is for everybody who reaches the servers.

  passwordFile @3 :Text;
  # File with the password of `user`, in its first line.

  timeoutMs @4 :UInt32 = 5000 $Settings.least(100) $Settings.most(600000);
  # How long a call waits for the servers before it fails, or a commit's outcome is unknown; 100 ms to
  # 10 minutes.

  sessionMs @5 :UInt32 = 4000 $Settings.least(500) $Settings.most(60000);
  # The session that is asked for: a server that is silent for two thirds of it is left for another
  # one; 500 ms to a minute. The servers grant 2 to 20 of their ticks.

  maxOps @6 :UInt32 = 128 $Settings.least(1) $Settings.most(10000);
  # The most changes in one batch, 1 to 10,000.

  maxBytes @7 :UInt64 = 600000 $Settings.least(4096) $Settings.most(67108864);
  # The most bytes of one batch (kinds, keys and values), 4 KiB to 64 MiB. More than the default, or
  # more changes, need a larger `jute.maxbuffer` on every server.
}
