@0xb0bc7b7240c08422;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::filter::affinity");

struct Config {
  # It has no settings.
}
