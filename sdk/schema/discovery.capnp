@0xb6bcfca7f8b95320;
# The kind `discovery`: who is said to belong to a cluster, as addresses. One plugin per backend, several side by
# side; the service `discovery` (struct DiscoveredEntry and below) is their union. Discovery helps hosts to find each
# other; it never decides that one is dead (heartbeats do), and proves nothing (certificates do).
#
# Limits, on both sides: 10,000 entries in an answer, an address of 261 bytes, a digest of 128, a node id of 64, and no
# control characters in any of them. Addresses are `host:port`, `[v6]:port`, with the host in lower case, an IPv6
# address in its short form and a port from 1 to 65535, so that equal ones are equal texts.

using Cxx = import "/capnp/c++.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface Discovery {
  watch @0 (sink :DiscoverySink) -> () $Plugin.longRunning;
  # Tells `sink` all that is there: first what is known now (as soon as something is), then everything at each change
  # of it. A call to the sink is made when the one before has returned; what changes meanwhile is in the next, so a
  # slow sink misses steps and never the state. Ends when it is cancelled, with DISCONNECTED when the backend stops,
  # and with UNIMPLEMENTED where there is nothing to watch. Any number of watches.

  register @1 (entry :DiscoveryEntry, ttlMs :UInt64) -> ();
  # Puts an entry there, or renews the one with its address, for `ttlMs` from now (1 s to 24 h; rounded up to what the
  # backend can count). Nothing renews it but the next call. UNIMPLEMENTED, with a text that says who
  # writes the entries instead, from a backend that is read only.

  unregister @2 (address :Text) -> ();
  # Takes it away at once. One that is not there is no error.

  create @3 (hub :Text) -> (uri :Text);
  # Makes a new, empty cluster at `hub` (a URI of the backend without the cluster) and answers the URI that everybody of it puts
  # into `[node] discovery`. UNIMPLEMENTED where a cluster needs no making.
}

interface DiscoverySink {
  entries @0 (entries :List(DiscoveryEntry)) -> ();
  # All, sorted by address, each address once. After `failed` it also says that the backend answers again. An empty list is sent before
  # there has been any entry, never afterwards.
  failed @1 (reason :Text) -> ();
  # The backend does not answer, answers what cannot be read, or answers that nobody is left, which mostly is a
  # mistake: the entries told before stand. Once per reason, not per try.
}

struct DiscoveryEntry {
  address @0 :Text;                  # where its manager or agent listens for other hosts
  role @1 :Role;
  clusterDigest @2 :Text;            # of the cluster's CA, as in its join tokens; empty: the backend keeps addresses only
  nodeId @3 :Text;                   # may be empty, too
  enum Role { unknown @0; manager @1; worker @2; }
}

# ---- the service `discovery` of a node --------------------------------------------------------------------------

interface NodeDiscovery {
  list @0 () -> (entries :List(DiscoveredEntry), backends :List(DiscoveryBackend));
  # What is known now, at once; entries by address, backends by name.

  watch @1 (sink :DiscoverySink) -> () $Plugin.longRunning;
  # The union's entries, as `Discovery.watch` would tell them. `failed` is never called: backends fail alone.

  announce @2 (entry :DiscoveryEntry) -> ();
  # Registers this entry at all backends that can be written, and renews it for as long as the node runs. Replaces
  # the one announced before, which is unregistered if its address is another. Answers at once: what the backends
  # say is in `list`.

  create @3 (hub :Text) -> (uri :Text);
  # By the first backend that can.
}

struct DiscoveredEntry {
  entry @0 :DiscoveryEntry;
  backends @1 :List(Text);           # that name it: `discovery.file#1`
  held @2 :Bool;                     # vanished from all of them together with many others; kept for a while
}

struct DiscoveryBackend {
  name @0 :Text;
  entries @1 :UInt32;
  held @2 :UInt32;                   # of these, vanished and kept
  error @3 :Text;                    # why it does not answer; empty: it does
  writable @4 :Bool;                 # as far as is known: nothing was refused yet
  registerError @5 :Text;            # why this node's entry is not there; empty: it is, or none was announced
}
