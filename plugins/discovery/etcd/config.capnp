@0xed822a61ab8631fa;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::etcd");

struct Config {
  uri @0 :Text;
  # `etcd://host:port,host:port/prefix`, as in `[node] discovery`: the members of one etcd, at most 16; without a
  # port 2379, without a prefix none. `etcd+https://…` speaks TLS, as `etcd://…` does where one of the three files
  # below is named.
  path @1 :Text = "docker/swarm/nodes";
  # Below the prefix, where the entries are: classic Swarm's `kv.path`.
  caFile @2 :Text;
  # PEM: who signs the certificates of the members; classic Swarm's `kv.cacertfile`. Empty: those that the system
  # trusts.
  certFile @3 :Text;
  # PEM: what this node shows an etcd with --client-cert-auth; classic Swarm's `kv.certfile`.
  keyFile @4 :Text;
  # PEM: the key of `certFile`; classic Swarm's `kv.keyfile`.
  user @6 :Text;
  # Who this node is to an etcd with `auth enable`: a user with a role that may read and write below the prefix.
  passwordFile @7 :Text;
  # File with the password of `user`, in its first line.
  timeoutMs @5 :UInt64 = 10000 $Settings.least(100) $Settings.most(600000);
  # A request that no member answers in time has failed. An etcd that elects a leader is silent for 1 to 2 s.
}
