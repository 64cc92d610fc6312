@0xd2c1a5a0b7f1c003;
# What a client meets on the socket of orchd.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface Gateway {
  version @0 () -> ServerVersion;
  service @1 (name :Text) -> (capability :Capability);
  # Fails, with what is there, if no service of that name runs: at once, or, on a node that has just
  # been started, when its plugins have settled. `kernel` is always there.
  services @2 () -> (names :List(Text));
  # That run, and that whoever asks may have.
}

interface Admission {
  # The service `admin`, which a kernel asks for on behalf of an admin at its port: who is let in gets
  # the whole gateway, for as long as `ended` has not answered.
  ended @0 () -> (reason :Text) $Plugin.longRunning;
}

struct ServerVersion {
  version @0 :Text;
  api @1 :UInt32;
  node @2 :Text;
  pid @3 :UInt32;
}

struct Versions {
  client @0 :Text;
  server @1 :ServerVersion;
}

interface Kernel {
  plugins @0 () -> (plugins :List(PluginStatus));
  configShow @1 (defaults :Bool) -> (toml :Text);
  configReload @2 () -> (applied :List(Text), needRestart :List(Text));
  events @3 (sinceNs :Int64, follow :Bool, topics :List(Text), sink :Plugin.EventSink) -> () $Plugin.longRunning;
  # First what the event log holds since then, then, if `follow`, what comes.
}

struct PluginStatus {
  enum State { waiting @0; starting @1; running @2; stopping @3; stopped @4; failed @5; }
  id @0 :Text;
  version @1 :Text;
  state @2 :State;
  reason @3 :Text;                   # why it waits or failed
  isolation @4 :Text;                # kernel or process; empty while only its file would say it
  restarts @5 :UInt32;
  memoryBytes @6 :UInt64;            # of its process; 0 in the kernel
  callP99Us @7 :UInt64;
  calls @8 :UInt64;
  file @9 :Text;
  critical @10 :Bool;
  services @11 :List(Text);
  requires @12 :List(Text);
  pid @13 :UInt32;
  abiId @14 :Text;
  sdkVersion @15 :Text;
  settings @16 :Text;                # as TOML
}
