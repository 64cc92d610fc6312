@0xd2c1a5a0b7f1c002;
# What the kernel and a plugin are to each other.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Trust = import "trust.capnp";
$Cxx.namespace("orch::schema");

annotation longRunning @0x96150f19b00025dc (method) :Void;
# A method that may take as long as the work takes (a pull, a wait, a log that is followed, a reader
# who is slow). Every other call into a plugin fails with OVERLOADED past the plugin's `deadline`,
# whichever of its capabilities it comes through. orchd reads this from the plugin's own file.

interface Plugin {
  # The root of an instance. The kernel calls the methods in this order, once each, and `stop` last.

  configure @0 (host :Host, settings :AnyPointer) -> ();
  # `settings` is the struct of the plugin's config.capnp, filled from the manifest. Fails with a
  # text that names the setting if its value cannot be used. Touches nothing outside.

  recover @1 () -> ();
  # Finds what survived the last run and takes it over; removes what nobody owns any more.

  start @2 () -> (services :List(NamedService));
  # From the answer on the services can be called. Fails with the reason and the remedy if the
  # plugin cannot work here.

  stop @3 () -> ();
  # Drains. What has to outlive the process (containers) stays.

  logLevel @4 (level :LogLevel) -> ();
  # Messages below it need not be sent. May be called at any time.
}

struct NamedService {
  name @0 :Text;                     # `runtime.crun`, `cluster`
  capability @1 :Capability;         # for this node; null: only others have it
  peers @2 :Trust.PeerService;       # for other hosts; null: it cannot be reached from there
}

interface Host {
  # What the kernel gives to a plugin.

  node @0 () -> (id :Text, name :Text, dataDir :Text, runDir :Text, labels :List(Objects.KeyValue), version :Text, instance :Text, generic :List(Objects.GenericResource));
  # `instance` is the plugin's own id, `store.local#agent`: the name to offer its service under, and the
  # name of its folders in `dataDir` and `runDir`.
  publish @1 (topic :Text, subject :Text, attributes :List(Objects.KeyValue)) -> ();
  subscribe @2 (topics :List(Text), sink :EventSink) -> (subscription :Capability);
  # `topics` are names or prefixes that end in `*`. Dropping `subscription` ends it.
  service @3 (name :Text) -> (capability :Capability) $longRunning;
  # Answers when a service of that name is there, which may be never; a promise of it is enough to
  # start a call. The capability stays valid over restarts of the plugin behind it: calls made
  # meanwhile fail with DISCONNECTED. Fails for a service that neither the plugin's file asks for nor its
  # entry in the manifest grants, and for one called like a plugin that is not in the manifest.
  services @4 (prefix :Text) -> (names :List(Text));
  # Those that run now and that this plugin may call, sorted.
  log @5 (level :LogLevel, message :Text, fields :List(Objects.KeyValue)) -> ();
}

enum LogLevel { trace @0; debug @1; info @2; warn @3; error @4; }

interface EventSink {
  events @0 (events :List(Event), lagged :UInt64) -> () $longRunning;
  # `lagged`: so many events before these were dropped since this subscriber was too slow; read the
  # state again. The next batch is sent when this call has returned.
}

struct Event {
  sequence @0 :UInt64;               # counted by the node's kernel, from 1, without gaps
  timeNs @1 :Int64;
  source @2 :Text;                   # plugin id or `kernel`
  topic @3 :Text;                    # noun.pastTense: `task.started`
  subject @4 :Text;                  # id of what it is about
  attributes @5 :List(Objects.KeyValue);
}
