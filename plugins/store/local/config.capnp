@0xc91e9ece619a862c;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::store::local");

# What a number may be: the kernel refuses others with their place in the manifest
# (kernel/config/settings.cpp).
annotation least @0xab91c2a90c3c0c5d (field) :Int64;
annotation most @0xe3f5d3a6b4c8f0b1 (field) :Int64;

struct Config {
  directory @0 :Text;
  # Where the state is kept; absolute. Default: the plugin's own folder in the node's data. On a disk
  # that keeps what it was told to sync, not on a network file system.

  maxOps @1 :UInt32 = 1024 $least(1) $most(100000);
  # The most changes in one batch, 1 to 100,000.

  maxBytes @2 :UInt64 = 4194304 $least(4096) $most(67108864);
  # The most bytes of one batch (kinds, keys and values), 4 KiB to 64 MiB.

  changeRecords @3 :UInt32 = 10000 $least(1000) $most(1000000);
  # So many past batches are kept for followers and for the question whether a batch was applied;
  # 1,000 to 1,000,000. A follower that is further behind reads the whole state again.

  changeBytes @4 :UInt64 = 67108864 $least(4096) $most(1099511627776);
  # Past this many bytes the oldest records lose their content, but are still known to have been
  # applied. At least `maxBytes`.

  acceptLoss @5 :UInt64;
  # Only after a start was refused because acknowledged state is missing or damaged, and no backup
  # exists: the revision that the refusal names. The store then goes on with what is intact and says
  # what it dropped. It has no effect at any other revision.
}
