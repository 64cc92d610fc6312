@0xd6a1a0c9d3c5b7e4;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::test::curious");

struct Config {}
