@0x9320ae7882d5590a;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::control::agent");

struct Config {
  store @0 :Text = "store.local#agent";
  # Where the node keeps what it runs: a store of its own.

  dispatcher @1 :Text = "dispatcher";
  # The service of the leading manager.

  image @2 :Text = "image.oci";
  # The image plugin that runtimes with images use.

  runtimes @3 :List(Text) = ["crun", "runc", "sim"];
  # For services that name none: the first of these that works here.

  retryMaxMs @4 :UInt32 = 1000 $Settings.least(50);
  # Longest pause before the manager is looked for again.

  aloneAfterMs @5 :UInt32 = 5000;
  # Without a manager for so long, the node restarts its tasks by itself, as their policies say.

  keepImageMs @6 :UInt32 = 3600000 $Settings.least(1000);
  # An image that nothing needs any more stays so long, whatever the cluster's limit of images is.

  leaveLimitMs @7 :UInt32 = 5000;
  # A task is drained and stopped when the plugins that tell others of it (integration.registrator) have taken it out there, or
  # after so long.
}
