@0x956ac48ab1166f02;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::token");

struct Config {
  uri @0 :Text;
  # `token://host:port/v1/TOKEN`, as in `[node] discovery`; `token+http://…` for a hub without TLS.
  # Empty: there is no cluster to be read, but `orch discovery create` can make one.
  caFile @1 :Text;
  # Certificates, as PEM, one of which must have signed the hub's. Empty: those that the system trusts.
  pollMs @2 :UInt64 = 60000 $Settings.least(100) $Settings.most(3600000);
  # How often the hub is asked, give or take a tenth. After a failure it is asked again sooner.
  timeoutMs @3 :UInt64 = 10000 $Settings.least(100) $Settings.most(600000);
  # A request that takes longer has failed.
}
