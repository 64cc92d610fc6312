@0xc91e9ece619a862c;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::store::local");

struct Config {
  directory @0 :Text;
  # Where the state is kept; absolute. Default: the plugin's own folder in the node's data. On a disk
  # that keeps what it was told to sync, not on a network file system.

  maxOps @1 :UInt32 = 1024 $Settings.least(1) $Settings.most(100000);
  # The most changes in one batch, 1 to 100,000.

  maxBytes @2 :UInt64 = 4194304 $Settings.least(4096) $Settings.most(67108864);
  # The most bytes of one batch (kinds, keys and values), 4 KiB to 64 MiB.

  changeRecords @3 :UInt32 = 10000 $Settings.least(1000) $Settings.most(1000000);
  # So many past batches are kept for followers and for the question whether a batch was applied;
  # 1,000 to 1,000,000. A follower that is further behind reads the whole state again.

  changeBytes @4 :UInt64 = 67108864 $Settings.least(4096) $Settings.most(1099511627776);
  # Past this many bytes the oldest records lose their content, but are still known to have been
  # applied. At least `maxBytes`.

  acceptLoss @5 :UInt64;
  # Only after a start was refused because acknowledged state is missing or damaged, and no backup
  # exists: the revision that the refusal names. The store then goes on with what is intact and says
  # what it dropped. It has no effect at any other revision.
}
