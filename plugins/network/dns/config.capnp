@0xe1d2a3c15b0f7c64;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::network::dns");

struct Config {
  ttlSeconds @0 :UInt32 = 5 $Settings.least(0) $Settings.most(3600);
  # How long a client may keep an answer about a name of the cluster, 0 to 3600 (an hour). Tasks come and go:
  # what a client keeps longer may be gone.

  resolvConf @1 :Text = "/etc/resolv.conf";
  # The file whose `nameserver` lines are asked for all other names. An absolute path; it is read
  # again when it has changed.

  timeoutMs @2 :UInt32 = 2000 $Settings.least(100) $Settings.most(30000);
  # How long one server may take, in milliseconds, 100 to 30000; then the next one is asked. Resolvers give up after 5 s
  # (glibc, musl), so that two servers have their turn.
}
