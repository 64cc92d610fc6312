@0xd2c1a5a0b7f1c009;
# Between the leading manager and the agent of a node.

using Cxx = import "/capnp/c++.capnp";
using Image = import "image.capnp";
using Network = import "network.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
using Runtime = import "runtime.capnp";
$Cxx.namespace("orch::schema");

interface Dispatcher {
  open @0 (nodeId :Text, description :Objects.NodeDescription, agent :Agent, restarts :List(LocalRestart)) -> (session :Session, beats :BeatTerms);
  # One session per node; opening another ends the first. `agent.assign` with the complete set comes
  # before anything else. `restarts`: what the node did by itself while it was cut off. Those whose
  # slot nobody has filled meanwhile are tasks of the cluster from then on, and part of the set.
  # The manager has no hold on `agent` any more once the session is over: so the node learns of it.
}

struct LocalRestart {
  # A task that ended while no manager was there, and the one that the node runs in its place.
  ended @0 :TaskReport;
  next @1 :TaskReport;
  restarts @2 :UInt32;               # of `next`, as in a task
  startAfterNs @3 :Int64;
}

struct BeatTerms {
  # How a node tells that it is there, beside its session: by datagrams, which no loop and no disk
  # delays. plugins/control/lib says what is in one.
  address @0 :Text;                  # `ip:port`; empty: there are none, `heartbeat` is all
  session @1 :UInt64;                # its number
  key @2 :Data;                      # of this session
  periodMs @3 :UInt32;
}

interface Session {
  report @0 (statuses :List(TaskReport)) -> ();
  # Answered when the manager has taken them in. A lower state than the known one is ignored.
  heartbeat @1 (loopLagMs :UInt32) -> (nextMs :UInt32);
  # `loopLagMs`: how long the node's loop stood still, at most, since the last one. The manager spreads
  # `nextMs`, so that the beats of many nodes do not come together.
  describe @2 (description :Objects.NodeDescription) -> ();
  close @3 (leaves :Bool) -> ();
  # The last call. A node that `leaves` is down at once; another one may come back within the time
  # that it may be silent. A session that is dropped without it has lost its process, or its way.
  offerImages @4 (images :List(OfferedImage)) -> ();
  # All that other nodes may fetch from this one, at most 1,000; replaces what was offered before.
  findImage @5 (digest :Text) -> (sources :List(Image.ImageSource));
  # Other nodes that offer the image. What they send goes through the manager. Fails unless a task of
  # this node runs an image of that digest.
  imageLimit @6 () -> (bytes :UInt64, needed :List(Text));
  # What the node's images may take; 0: as much as they like. `needed`: the references of all services'
  # images, as a task would ask for them: any of them may have to start here at once.
}

struct OfferedImage {
  digest @0 :Text;                   # of the manifest
  names @1 :List(Text);              # that it was imported by on this node
}

struct TaskReport {
  taskId @0 :Text;
  status @1 :Objects.TaskStatus;
}

interface Agent {
  assign @0 (epoch :UInt64, complete :Bool, assignments :List(Assignment), gone :List(AssignedObject)) -> (refused :List(Refusal));
  # `complete`: these are all; what else the agent has is gone. Otherwise differences. Answered when
  # the epoch, what was assigned and the end of what is gone are durable on the node. A lower epoch
  # than the last one is refused, by the next orchd of the node as well. An assignment that this agent
  # cannot take is refused by itself: the others are done.
  logs @1 (taskId :Text, options :Runtime.LogOptions, sink :Runtime.LogSink) -> () $Plugin.longRunning;
  volumes @2 () -> (volumes :List(Runtime.Volume));
  removeVolume @3 (name :Text) -> (found :Bool);
  pruneVolumes @4 () -> (removed :List(Text));
  # Of the node, as its runtimes have them.
  ping @5 () -> (loopLagMs :UInt32);
  # Asked by a manager that has not heard of the node for a while.
  readBlob @6 (image :Text, blob :Text, offset :UInt64, maxBytes :UInt32) -> Image.BlobPart;
  # As the node's image plugin has it.
  settled @7 () -> ();
  # Answered when what was assigned of networks, peers, services and other nodes is in force on the node.
  checkNetworks @8 (network :Text, repair :Bool, expected :List(Assignment)) -> (things :UInt32, findings :List(Network.NetworkFinding), untold :Bool, unasked :List(Text));
  # Of one network, by its id or name, or if that is empty of all, and of published ports: what the
  # node's kernel has not as its plugins' books say, what these lack of the node's tasks, and what the
  # node has not been told as in `expected`: all networks, peers, services and other nodes that the
  # manager would tell a new agent of. `untold`: there was such a thing; a repair of that is the
  # manager's, by the complete set. `unasked`: plugins that did not answer, and why.
  exec @9 (taskId :Text, program :Runtime.Program, output :Runtime.ProgramOutput) -> (running :Runtime.RunningProgram) $Plugin.longRunning;
  # In the container of a task that runs here, as its runtime does it.
  attach @10 (taskId :Text, input :Bool, size :Runtime.TerminalSize, output :Runtime.ProgramOutput) -> (running :Runtime.RunningProgram, terminal :Bool, takesInput :Bool) $Plugin.longRunning;
  processes @11 (taskId :Text) -> (processes :List(Runtime.ContainerProcess), more :UInt32);
  # The same.
  usage @12 (taskIds :List(Text), host :Bool) -> (usages :List(Runtime.ContainerUsage), host :Runtime.HostUsage, problems :List(Text));
  # Of these, those that run here, and if `host` of all that runs here. `problems`: which runtimes did
  # not answer, and why.
  managers @13 (addresses :List(Text)) -> ();
  # Where the cluster's managers are; the node keeps it.
  tasks @14 () -> (tasks :List(Objects.Task));
  # All of this node's, as it keeps them, whether a manager can be reached or not: of those that have ended only the ones
  # that it has not been told to forget yet.
}

struct Assignment {
  # One object that the node is to have. Those that are not carried yet have their numbers, so that an
  # agent that does not know one can say which it was.
  version @0 :UInt64;                # of the object, as the manager counts it
  union {
    task @1 :Objects.Task;           # what is desired of it only grows: a version may be left out
    network @2 :Objects.Network;     # that a task of the node has a leg in
    secret @3 :AnyPointer;
    config @4 :AnyPointer;
    volume @5 :AnyPointer;
    peer @7 :Network.NetworkPeer;    # of such a network, wherever it runs
    service @8 :Network.NetworkService;  # the same
    meshNode @9 :Network.MeshNode;   # another node of the cluster, for its published ports
  }
  login @6 :Image.RegistryLogin;     # of a task: for its image, if a user gave one. It is not kept on a disk.
}

enum AssignedKind { task @0; network @1; secret @2; config @3; volume @4; peer @5; service @6; meshNode @7; }

struct AssignedObject {
  kind @0 :AssignedKind;
  id @1 :Text;
  network @2 :Text;                  # of a peer or a service; with a network all of it goes
}

struct Refusal {
  index @0 :UInt32;                  # in `assignments`
  reason @1 :Text;                   # for the log of the managers
}

struct FollowedLeader {
  # What an agent keeps in its node's store of whom it follows.
  epoch @0 :UInt64;
  cluster @1 :Text;                  # the digest of its authority, of the next one when that takes its place; an epoch of another cluster says nothing
}
