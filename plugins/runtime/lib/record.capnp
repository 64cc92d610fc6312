@0xea903d63efc3696b;
# What the runtime keeps of a container in `<dataDir>/<instance>/containers/<id>/record`, written before
# anything else of it exists and removed after everything else is gone.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::runtime");

struct Record {
  id @0 :Text;
  createdAtNs @1 :Int64;
  labels @2 :List(Label);
  taskName @3 :Text;
  stopSignal @4 :Int32;
  logMaxBytes @5 :UInt64;
  logMaxFiles @6 :UInt32;
  volumes @7 :List(Text);            # named ones that it uses
  terminal @8 :Bool;                 # it has one
  interactive @9 :Bool;              # its stdin is open

  struct Label {
    key @0 :Text;
    value @1 :Text;
  }
}
