@0xd2c1a5a0b7f1c009;
# Between the leading manager and the agent of a node.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
using Runtime = import "runtime.capnp";
$Cxx.namespace("orch::schema");

interface Dispatcher {
  open @0 (nodeId :Text, description :Objects.NodeDescription, agent :Agent) -> (session :Session);
  # One session per node; opening another ends the first. `agent.assign` with the complete set comes
  # before anything else.
}

interface Session {
  report @0 (statuses :List(TaskReport)) -> ();
  # Answered when the manager has taken them in. A lower state than the known one is ignored.
  heartbeat @1 (loopLagMs :UInt32) -> (nextMs :UInt32);
  describe @2 (description :Objects.NodeDescription) -> ();
}

struct TaskReport {
  taskId @0 :Text;
  status @1 :Objects.TaskStatus;
}

interface Agent {
  assign @0 (epoch :UInt64, complete :Bool, tasks :List(Objects.Task), gone :List(Text)) -> ();
  # `complete`: these are all; what else the agent has is gone. Otherwise differences. Answered when
  # the epoch, the tasks and the end of those that are gone are durable on the node. A lower epoch
  # than the last one is refused, by the next orchd of the node as well.
  logs @1 (taskId :Text, options :Runtime.LogOptions, sink :Runtime.LogSink) -> () $Plugin.longRunning;
}

struct FollowedLeader {
  # What an agent keeps in its node's store of whom it follows.
  epoch @0 :UInt64;
}
