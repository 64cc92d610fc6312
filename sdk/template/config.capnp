@0xea33a8e9428ffcd5;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::scheduler::first");

struct Config {
  sparePercent @0 :UInt32 = 0;
  # So much of each node's processors and memory stays free for tasks that reserve some: 0 to 90.
}
