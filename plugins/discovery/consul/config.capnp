@0xe20c6f14b8a75d93;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::consul");

struct Config {
  uri @0 :Text;
  # `consul://host:port/prefix`, as in `[node] discovery`; without a port 8500, without a prefix none. Several
  # agents or servers of one consul, at most 16, with commas between them. `consul+https://…` speaks TLS, as
  # `consul://…` does where one of the three files below is named.
  path @1 :Text = "docker/swarm/nodes";
  # Below the prefix, where the entries are: classic Swarm's `kv.path`.
  caFile @2 :Text;
  # PEM: who signs the certificates of consul; classic Swarm's `kv.cacertfile`. Empty: those that the system
  # trusts.
  certFile @3 :Text;
  # PEM: what this node shows a consul with verify_incoming; classic Swarm's `kv.certfile`.
  keyFile @4 :Text;
  # PEM: the key of `certFile`; classic Swarm's `kv.keyfile`.
  tokenFile @5 :Text;
  # File whose first line is an ACL token that may write these keys and sessions. Empty: the anonymous one's
  # rights.
  timeoutMs @6 :UInt64 = 10000 $Settings.least(100) $Settings.most(600000);
  # A request that no endpoint answers in time has failed.
}
