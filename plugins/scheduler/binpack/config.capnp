@0xf93ef92c922c3bdc;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::scheduler::binpack");

struct Config {
  failureLimit @0 :UInt32 = 5 $Settings.least(1);
  # A node on which a service's tasks failed at least so often within five minutes is used for that
  # service only when no other node is left.
}
