@0x935843428ce184f6;
# What a config.capnp may say of its fields beside their types, defaults and comments. orchd holds the
# manifest against it wherever it reads it: in `orch config check`, at a reload and at a start. What only the
# plugin can judge (an address, a path) its constructor refuses, at the same three places.
#
#   using Settings = import "/orch/schema/settings.capnp";
#   blockMs @0 :UInt32 = 100 $Settings.least(1) $Settings.most(60000);

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::schema");

annotation least @0xab91c2a90c3c0c5d (field) :Int64;
annotation most @0xe3f5d3a6b4c8f0b1 (field) :Int64;
# The least and the most that a whole number may be. Not for a field that a list or a table holds.
