@0xe0d87c0593f548a2;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::test::misbehaves");

struct Config {
  enum Mode { well @0; refuse @1; throwInStart @2; crashInStart @3; hangInStart @4; }
  mode @0 :Mode;
  # What it does while it is started.

  pauseMs @1 :UInt32 = 100;
  names @2 :List(Text);
}
