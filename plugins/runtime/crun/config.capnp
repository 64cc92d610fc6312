@0xe762a753ca5b646c;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::runtime::crun");

struct Config {
  program @0 :Text = "crun";
  # The OCI runtime: a path, or a name that is looked up in PATH.

  conmon @1 :Text = "conmon";
  # Holds the output and the exit status of each container.

  cgroupRoot @2 :Text = "/sys/fs/cgroup";
  # Where this host has its cgroups mounted.

  cgroupParent @3 :Text = "/orch";
  # Containers get a cgroup below it, named by their id.

  parallelism @4 :UInt32 = 0;
  # So many containers are created, started or removed at once. 0: twice the number of cores.

  createTimeoutMs @5 :UInt64 = 60000 $Settings.least(1);
  # A container that is not there after it is given up and cleared away.

  killTimeoutMs @6 :UInt64 = 10000 $Settings.least(1);
  # A container that has not ended so long after SIGKILL fails its removal.

  logCheckMs @7 :UInt64 = 1000 $Settings.least(1);
  # How often at least a running container's log is compared with its size limit; one that grows fast
  # is looked at as often as it takes.

  commandTimeoutMs @8 :UInt64 = 60000 $Settings.least(1);
  # A start, a deletion or a question to the OCI runtime that takes longer fails, and its process is
  # ended.

  prepareTimeoutMs @9 :UInt64 = 300000 $Settings.least(1);
  # A container that waits longer for a mount source that does not answer, or for a volume that
  # somebody else has locked, fails. Its task says meanwhile what it waits for.
}
