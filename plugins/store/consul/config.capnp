@0xb71f0a6de93c5528;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::store::consul");

struct Config {
  endpoints @0 :List(Text);
  # Addresses of consul's agents or servers, as `http://10.0.0.1:8500` or `https://…`, at most 16. They are
  # asked in turn until one answers. None: `http://127.0.0.1:8500`, the agent of this host.

  prefix @1 :Text = "orch/";
  # All keys of this cluster begin so: 2 to 128 of [A-Za-z0-9._-], and `/` between them and at the end. Two
  # clusters on one consul need prefixes of which none begins with the other.

  ca @2 :Text;
  # PEM file with the authorities that sign the endpoints' certificates. Default: those that the system
  # trusts.

  cert @3 :Text;
  # PEM file with the certificate that this node shows, for a consul with verify_incoming.

  key @4 :Text;
  # PEM file with the key of `cert`.

  tokenFile @5 :Text;
  # File whose first line is an ACL token that may write all keys that begin with `prefix`. None: the
  # anonymous one's rights.

  timeoutMs @6 :UInt32 = 5000 $Settings.least(100) $Settings.most(600000);
  # How long a call tries all endpoints before it fails, or a commit's outcome is unknown; 100 ms to 10
  # minutes. A consul that elects a leader answers nothing for some seconds.

  maxOps @7 :UInt32 = 59 $Settings.least(1) $Settings.most(59);
  # The most changes in one batch, 1 to 59: consul takes 64 operations in a transaction.

  maxBytes @8 :UInt64 = 320000 $Settings.least(4096) $Settings.most(67108864);
  # The most bytes of one batch (kinds, keys and values), 4 KiB to 64 MiB. More than the default need a consul
  # with a larger limits.txn_max_req_len: four bytes for every three, and a quarter of a mebibyte.
}
