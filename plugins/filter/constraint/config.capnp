@0xfdccbcc2fd3f4909;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::filter::constraint");

struct Config {
  # It has no settings.
}
