@0xd2c1a5a0b7f1c005;
# The kind `scheduler`: a strategy that spreads groups of equal tasks over nodes that passed the checks.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::schema");

interface Scheduler {
  open @0 (nodes :List(NodeLoad)) -> (table :PlacementTable);
}

interface PlacementTable {
  # The strategy's own picture of the nodes. After a restart of the plugin calls fail with
  # DISCONNECTED; open a new one.
  apply @0 (changed :List(NodeLoad), gone :List(Text)) -> ();
  fork @1 () -> (table :PlacementTable);
  # A copy to try things on (`orch plan`).
  place @2 (group :TaskGroup, count :UInt32, seed :UInt64) -> (nodes :List(Text), unplaced :UInt32);
  # A node id per task placed, and counts them into the table. The same table, group, count and seed
  # give the same answer.
  explain @3 (group :TaskGroup) -> (nodes :List(NodeScore));
  # How the candidates stand for the next task of the group, the one that it would get first. Changes
  # nothing. A strategy that cannot say leaves it out.
}

struct NodeScore {
  id @0 :Text;
  terms @1 :List(ScoreTerm);         # the first one that differs decides
}

struct ScoreTerm {
  name @0 :Text;                     # as `tasks of the service`
  value @1 :Int64;                   # the lower the better
}

struct BranchTasks {
  branches @0 :List(UInt32);         # one number for each level
  tasks @1 :UInt32;                  # of the service
}

struct NodeLoad {
  id @0 :Text;
  availableCpuNanos @1 :UInt64;      # capacity minus reservations
  availableMemoryBytes @2 :UInt64;
  totalCpuNanos @3 :UInt64;
  totalMemoryBytes @4 :UInt64;
  tasks @5 :UInt32;                  # active tasks of all services
  services @6 :List(ServiceCount);
}

struct ServiceCount {
  serviceId @0 :Text;
  tasks @1 :UInt32;
  recentFailures @2 :UInt32;         # within five minutes
}

struct TaskGroup {
  serviceId @0 :Text;
  reserveCpuNanos @1 :UInt64;
  reserveMemoryBytes @2 :UInt64;
  maxPerNode @3 :UInt32;             # 0: no limit
  candidates @4 :List(Text);         # nodes that passed all checks
  levels @5 :List(List(UInt32));     # of the spread preferences, the first one first: per candidate the number of its branch
  elsewhere @6 :List(BranchTasks);   # on nodes that are no candidates
}
