@0xd2c1a5a0b7f1c004;
# The kind `store`: durable, ordered, compare-and-set storage of the cluster's objects. The manager
# keeps the whole state in memory; a store only has to load it, commit batches and tell of changes.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::schema");

interface Store {
  limits @0 () -> (maxOps :UInt32, maxBytes :UInt64);
  # Of one batch. A larger one is refused by `commit` with FAILED and changes nothing.

  load @1 (sink :ObjectSink) -> (revision :UInt64, epoch :UInt64);
  # Hands every object to `sink`, in order of kind and key, then answers with the revision that they
  # are the state of. A damaged object fails the call with its kind, key and the way to recover.

  commit @2 (batch :Batch, epoch :UInt64) -> (result :CommitResult);
  # All of the batch or nothing, durable before the answer. Batches are applied in call order.

  follow @3 (from :UInt64, sink :ChangeSink) -> (subscription :Capability);
  # Every change record after revision `from`, in order, as they are committed by anybody.
  # `sink.resync` if records that old are gone.

  elect @4 (candidate :Text, expectedEpoch :UInt64) -> (won :Bool, epoch :UInt64, leader :Text);
  # Raises the epoch by one and makes `candidate` the leader if the epoch is still the expected one.

  find @5 (batchId :Text) -> (found :Bool, revision :UInt64);
  # Whether a batch was applied: for the `unknown` of a commit. Remembers at least the last 1,000.
}

struct Batch {
  id @0 :Text;                       # unique
  ops @1 :List(Op);
}

struct Op {
  kind @0 :Text;                     # `service`, `task`
  key @1 :Text;                      # the object's id
  expected @2 :UInt64;               # the object's revision that this was decided on; 0: must not exist
  union {
    put @3 :Data;                    # a Cap'n Proto message, flat
    delete @4 :Void;
  }
}

struct CommitResult {
  union {
    committed @0 :UInt64;            # the revision of all objects of the batch
    refused :group {                 # nothing was changed
      reason @1 :Text;
      epoch @2 :UInt64;              # the store's
      conflicts @3 :List(Text);      # `kind/key` whose revision was not the expected one
    }
    unknown @4 :Text;                # may have been applied: ask `find`
  }
}

struct StoredObject {
  kind @0 :Text;
  key @1 :Text;
  revision @2 :UInt64;
  value @3 :Data;
}

interface ObjectSink {
  objects @0 (objects :List(StoredObject)) -> ();
}

interface ChangeSink {
  changes @0 (revision :UInt64, ops :List(Op)) -> ();
  resync @1 (revision :UInt64) -> ();
}
