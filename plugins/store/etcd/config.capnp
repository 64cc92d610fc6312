@0xd3a6c1f0b52e7d19;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::store::etcd");

struct Config {
  endpoints @0 :List(Text);
  # Client addresses of the etcd's members, as `http://10.0.0.1:2379` or `https://…`, at most 16. They are
  # asked in turn until one answers. None: `http://127.0.0.1:2379`.

  prefix @1 :Text = "/orch/";
  # All keys of this cluster begin so: 2 to 128 characters from `/` to `/`. Two clusters on one etcd need
  # prefixes of which none begins with the other.

  ca @2 :Text;
  # PEM file with the authorities that sign the members' certificates. Default: those that the system
  # trusts.

  cert @3 :Text;
  # PEM file with the certificate that this node shows, for an etcd with --client-cert-auth.

  key @4 :Text;
  # PEM file with the key of `cert`.

  timeoutMs @5 :UInt32 = 5000 $Settings.least(100) $Settings.most(600000);
  # How long a call tries all endpoints before it fails, or a commit's outcome is unknown; 100 ms to 10
  # minutes. An etcd that elects a leader is silent for 1 to 2 s.

  maxOps @6 :UInt32 = 125 $Settings.least(1) $Settings.most(10000);
  # The most changes in one batch, 1 to 10,000. More than 125 need an etcd with --max-txn-ops of 3 more.

  maxBytes @7 :UInt64 = 1200000 $Settings.least(4096) $Settings.most(67108864);
  # The most bytes of one batch (kinds, keys and values), 4 KiB to 64 MiB. More than the default, or many
  # changes with long names in it, need an etcd with a larger --max-request-bytes.

  historyMs @8 :UInt64 = 300000 $Settings.most(86400000);
  # Of what etcd keeps of overwritten keys, all clients' in common, the part that is older than this is
  # compacted away every so often, by the node that commits; at most a day. A follower that was away for
  # longer reads the whole state again. 0: somebody else compacts (etcd's --auto-compaction-retention).

  managed @9 :Bool;
  # This plugin runs the etcd itself, the system's (package etcd-server): one member on each host that
  # manages, which come and go with the managers. `endpoints`, `ca`, `cert` and `key` are left out then.
  # Workers have it in their manifests as well, for when they are promoted.

  quotaBytes @10 :UInt64 = 2147483648 $Settings.least(67108864) $Settings.most(17179869184);
  # Of a managed etcd: past so many bytes of its database it takes no more writes, until there is space again;
  # 64 MiB to 16 GiB.

  peerPort @11 :UInt16 = 2378 $Settings.least(1);
  # Of a managed etcd: where its members meet, at the addresses of their nodes. The same on all hosts.

  clientPort @12 :UInt16 = 2374 $Settings.least(1);
  # Of a managed etcd: where this plugin asks its own host's member, on loopback.
}

struct ManagedMember {
  # What a node keeps of the member that it runs. An invitation is one, too.

  name @0 :Text;                     # the node's id
  address @1 :Text;                  # `ip`, IPv6 in brackets
  token @2 :Text;                    # of this etcd, which no other one has
  cluster @3 :Text;                  # `NAME=URL,…` of the members that it begins with
  authority @4 :Text;                # PEM: certificate and key of who signs the members' certificates
  founds @5 :Bool;                   # it is the first one
  started @6 :Bool;                  # its data exist; if they are gone, it has lost them
}
