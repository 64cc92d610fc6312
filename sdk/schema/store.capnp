@0xd2c1a5a0b7f1c004;
# The kind `store`: durable, ordered, compare-and-set storage of the cluster's objects. The manager
# keeps the whole state in memory; a store only has to load it, commit batches and tell of changes.

using Cxx = import "/capnp/c++.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface Store {
  limits @0 () -> (maxOps :UInt32, maxBytes :UInt64, shared :Bool, uri :Text);
  # Of one batch. A larger one is refused by `commit` with FAILED and changes nothing.
  # `shared`: several hosts reach the same state, so that there can be several managers.
  # `uri`: which servers have it, and where in them: `etcd://10.0.0.1:2379,10.0.0.2:2379/orch`, `consul+https://…`,
  # `zk://…`, always with ports. Empty: it has no place that other stores could have, too.

  load @1 (sink :ObjectSink) -> (revision :UInt64, epoch :UInt64) $Plugin.longRunning;
  # Hands every object to `sink`, in order of kind and key, then answers with the revision that they
  # are the state of. A damaged object fails the call with its kind, key and the way to recover.
  # A state may be large: it is read in parts, and what takes a server too long is one of these, not the whole.

  commit @2 (batch :Batch, epoch :UInt64) -> (result :CommitResult);
  # All of the batch or nothing, durable before the answer. Batches are applied in call order. One without changes
  # has a revision and a change record, too: whoever was elected, and has its first commit, is told of nothing older after it.

  follow @3 (from :UInt64, sink :ChangeSink) -> (subscription :Capability);
  # Every change record after revision `from`, in order, as they are committed by anybody.
  # `sink.resync` if records that old are gone.

  elect @4 (candidate :Text, expectedEpoch :UInt64, leastEpoch :UInt64) -> (won :Bool, epoch :UInt64, leader :Text);
  # Raises the epoch by one, or to `leastEpoch` if that is more, and makes `candidate` the leader if the
  # epoch is still the expected one. Otherwise nothing changes, and the answer says how it is.
  # `candidate`: its node's id, or what became of the state: `moved:store.etcd` and it is there from now
  # on, `copying:` and a cluster's id while that cluster's is being copied to here.

  find @5 (batchId :Text) -> (found :Bool, revision :UInt64);
  # Whether a batch was applied: for the `unknown` of a commit. Remembers at least the last 1,000.

  servers @6 () -> (servers :StoreServers);
  # Of a store that runs its servers itself. Null, or UNIMPLEMENTED: they are somebody else's, or there are none.
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

interface StoreServers {
  # The servers of a store that runs them itself, one beside each manager. A manager asks the plugin of its own host.
  # Changes come one at a time; each can be asked for again.

  state @0 () -> (present :Bool, servers :List(StoreServer), trouble :Text, of :Text);
  # `present`: this host is to have one, whether it runs at the moment or not. `servers`: all that this host's last knew
  # of. `trouble`: what is wrong with this host's, in one line; empty: nothing. `of`: names those that belong together,
  # for as long as there is one of them. Asks nobody.

  found @1 (host :StoreHost) -> ();
  # The first one, on this host; nothing is done if one is present. Answers when it does.

  tend @2 (epoch :UInt64, hosts :List(StoreHost)) -> (waitsFor :Text, settled :Bool);
  # Servers are to be on these hosts: those of others are removed, but for this host's own, and those that have caught up
  # get a vote. One step at most; `settled`: nothing is left to do. `waitsFor`: why what is left cannot be done now.
  # Nothing is done for one that leads by another epoch than the state's.

  admit @3 (epoch :UInt64, host :StoreHost) -> (invitation :Data);
  # That host, another one, is to have a server, in the place of any that it had: without a vote until `tend` gives it
  # one. Fails while a third host's has none yet. `invitation` holds keys: it is for `join` there and nobody else.

  join @4 (host :StoreHost, invitation :Data) -> ();
  # A server on this host. Fails if one is present of those that the invitation is of; what is left of others is put
  # aside. Durable when it answers; the server has yet to catch up.

  settle @5 (host :StoreHost) -> ();
  # How others reach this host now: its server, if one is present, is there from then on.

  leave @6 () -> ();
  # This host has none any more, and nothing is left of the one that it had when it answers. The others are asked to do
  # without it first, but not waited for: they may be gone for good.
}

struct StoreHost {
  nodeId @0 :Text;
  address @1 :Text;                  # `ip:port` that others reach the node at; a server is at another port of its
}

struct StoreServer {
  nodeId @0 :Text;                   # empty: it has never run
  address @1 :Text;                  # that other servers reach it at
  votes @2 :Bool;
}
