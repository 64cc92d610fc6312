@0xd2c1a5a0b7f1c005;
# The kind `scheduler`: a strategy that spreads groups of equal tasks over nodes that passed the checks.
#
# Nodes have numbers, which the manager gives: small ones, one node each while it is there, and given
# again to others later. A strategy keeps what it is told of each, and is told again of what changes
# and of nothing else.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::schema");

interface Scheduler {
  open @0 (nodes :List(NodeLoad)) -> (table :PlacementTable);
}

interface PlacementTable {
  # The strategy's own picture of the nodes. After a restart of the plugin calls fail with
  # DISCONNECTED; open a new one.
  apply @0 (changed :List(NodeLoad), gone :List(Text), divisions :List(Division)) -> ();
  # What is said of a node, or of a division, takes the place of what was. Another node with the
  # number of one that was told of takes its place. `gone` are ids.
  fork @1 () -> (table :PlacementTable);
  # A copy to try things on (`orch plan`).
  place @2 (group :TaskGroup, count :UInt32, seed :UInt64) -> (nodes :List(UInt32), unplaced :UInt32);
  # The number of a node per task placed, and takes what it needs off what the table has of the node.
  # The same table, group, count and seed give the same answer.
  explain @3 (group :TaskGroup) -> (nodes :List(NodeScore));
  # How the candidates stand for the next task of the group, the one that it would get first. Changes
  # nothing. A strategy that cannot say leaves it out.
}

struct NodeScore {
  node @0 :UInt32;
  terms @1 :List(ScoreTerm);         # the first one that differs decides
}

struct ScoreTerm {
  name @0 :Text;                     # as `tasks of the service`
  value @1 :Int64;                   # the lower the better
}

struct Division {
  # The nodes by the values of a label that spread preferences name.
  id @0 :UInt32;
  branches @1 :List(UInt32);         # per node, by its number, that of the value that it has
}

struct NodeLoad {
  id @0 :Text;
  availableCpuNanos @1 :UInt64;      # capacity minus reservations
  availableMemoryBytes @2 :UInt64;
  totalCpuNanos @3 :UInt64;
  totalMemoryBytes @4 :UInt64;
  tasks @5 :UInt32;                  # active tasks of all services
  number @6 :UInt32;
}

struct ServiceLoad {
  # What a node has of the group's service.
  node @0 :UInt32;
  tasks @1 :UInt32;                  # that stay
  recentFailures @2 :UInt32;         # within five minutes
  leaving @3 :UInt32;                # of the node's tasks those that end when the new ones run
  room @4 :UInt32 = 0xffffffff;      # so many tasks of the group can go there yet, for what the strategy is not told of
}

struct TaskGroup {
  serviceId @0 :Text;
  reserveCpuNanos @1 :UInt64;
  reserveMemoryBytes @2 :UInt64;
  maxPerNode @3 :UInt32;             # 0: no limit
  candidates @4 :List(UInt64);       # nodes that passed all checks: a bit each, of node 0 the lowest of the first number
  loads @5 :List(ServiceLoad);       # of all nodes with anything of the service, candidates or not, and of those with limited `room`
  levels @6 :List(UInt32);           # ids of the divisions that the spread preferences name, the first one first
  wishes @7 :List(Wish);             # of the service that a node need not meet
  having @8 :List(UInt64);           # nodes that have the image already, as `candidates`: the first among equals
}

struct Wish {
  # A strategy prefers, among nodes that do not keep failing, the one with the least weight of wishes
  # that it does not meet, before it looks at what is its own. One that has no use for that may say so
  # and leave it.
  weight @0 :UInt32;
  nodes @1 :List(UInt64);            # that meet it, as `candidates`
}
