@0xbdc0cb69aaea3156;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::control::manager");

struct Config {
  store @0 :Text = "store.local";
  # The service that keeps the cluster's state.
  scheduler @1 :Text = "scheduler.spread";
  # The strategy of services that name none.
  autoInit @2 :Bool = true;
  # Whether the first start creates a cluster. Otherwise `orch init` does.
  heartbeatMs @3 :UInt32 = 1000 $Settings.least(10);
  # How often an agent tells that it is there, give or take a tenth.
  downAfterMs @4 :UInt32 = 2500;
  # A node without a heartbeat for so long is `down`: its tasks are restarted elsewhere.
  startGraceMs @5 :UInt32 = 15000;
  # After the manager's own start: how long agents have to come back before their nodes are `down`.
  orphanAfterMs @6 :UInt64 = 86400000;
  # Tasks of a node that has been down for so long are given up: they count as ended.
  storeTimeoutMs @7 :UInt32 = 30000;
  # How long a commit whose outcome is unknown is asked for before the state is loaded again.
  requestMemoryMs @8 :UInt64 = 600000;
  # How long a request id is remembered.
  requestMemoryCount @9 :UInt32 = 10000 $Settings.least(1);
  # And how many.
  image @10 :Text = "image.oci";
  # The service that tells what a tag means when a service is made or updated. Empty: nobody is asked,
  # and each node takes what it finds under the name.
  journalBytes @11 :UInt64 = 67108864;
  # Of what was decided, for `orch replay`, all files together; past it the oldest goes. 0: nothing is kept.
  agent @12 :Text = "control.agent";
  # The service of this node's agent, which a worker asks what runs here.
}

struct JournalEntry {
  # One after the other they say what the state was and what became of it. A file begins with all
  # objects, between `begins` and `complete`; what is decided meanwhile stands among them.
  union {
    begins @0 :UInt64;               # the store's revision
    complete @1 :Void;
    change @2 :JournalChange;        # of a pass, or an object as it is
    sighting @3 :JournalSighting;
    passed @4 :Int64;                # the changes since the last one were decided then
    images @5 :JournalImages;
    order @6 :List(Text);          # ids of the services that got nodes in the pass that ends next, if there are several
  }
}

struct JournalChange {
  # As in the store. Without words of either kind: the object is deleted. Secrets are left out.
  kind @0 :Text;
  id @1 :Text;
  object @2 :Data;                   # empty: as it was
  status @3 :Data;                   # the same
}

struct JournalSighting {
  node @0 :Text;
  presence @1 :UInt8;                # as Presence
  reason @2 :Text;
}

struct JournalImages {
  # Who has an image that tasks were placed for, since the file began.
  digest @0 :Text;
  more @1 :List(Text);               # nodes that have it now
  fewer @2 :List(Text);              # that have it no more
}

struct RequestRecord {
  # What a request with an id of the caller's did; kept in the store under that id.
  id @0 :Text;
  method @1 :Text;
  resultId @2 :Text;
  atNs @3 :Int64;
}
