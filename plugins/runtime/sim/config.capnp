@0xbe989e18b8a8f5fe;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::runtime::sim");

struct Config {
  createDelayMs @0 :UInt64 = 0;
  # How long every creation takes, besides a container's own SIM_CREATE_DELAY.

  startDelayMs @1 :UInt64 = 0;
  # The same for starts.
}
