@0xd2c1a5a0b7f1c013;
# A backup: the state of a cluster and what else its managers have to keep, in one file that is either
# whole or refused.
#
# It begins with 8 bytes `orchbkup` and, as 8 more, the number of its format, now 1, the least byte
# first. Frames of zstd follow, each with its checksum and at most 256 KiB of content. Their contents,
# one after the other, are messages of a BackupEntry each behind the number of its words (8 bytes, the
# least first): first one that `begins`, last one that `ends`, in a frame of its own. Behind that stand 8
# bytes more: the XXH64 of the last frame's bytes behind that of the frame before, and so on; of the head's
# 16 bytes behind 8 zeros.

using Cxx = import "/capnp/c++.capnp";
using Store = import "store.capnp";
$Cxx.namespace("orch::schema");

struct BackupEntry {
  union {
    begins :group {
      cluster @0 :Text;              # its id
      name @1 :Text;
      atNs @2 :Int64;
      revision @3 :UInt64;           # of the store
      epoch @4 :UInt64;              # the highest one that is known: who goes on with it begins well above
      version @5 :Text;              # of orch
    }
    object @6 :Store.StoredObject;   # without its revision
    authority @7 :Text;              # the certificate and the key of the cluster's authority, PEM
    loginKey @8 :Data;               # that logins of registries are sealed with, where it is not the authority's
    ends @9 :UInt64;                 # so many objects there were
  }
}
