@0xd2c1a5a0b7f1c00a;
# The service `cluster`: what users ask of the managers. Every method that changes something takes a
# request id chosen by the caller: the same id again gives the first answer and changes nothing more.
# Where an `id` is asked for, a name or an unambiguous beginning of an id will do. Errors are one
# line that names the input and what is accepted; they begin with `usage: ` if the request could
# never succeed as it is written.

using Cxx = import "/capnp/c++.capnp";
using Image = import "image.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
using Runtime = import "runtime.capnp";
using Scheduler = import "scheduler.capnp";
using Trust = import "trust.capnp";
$Cxx.namespace("orch::schema");

interface ClusterControl {
  info @0 () -> (info :ClusterInfo);
  init @1 (requestId :Text, name :Text, address :Text, certificateMs :UInt64, addressPools :List(Text), addressPoolPrefix :UInt8) -> (cluster :Objects.Cluster, created :Bool, token :Text, address :Text);
  # Makes the cluster, or what it lacks for others to join it: an authority, and this node's certificate.
  # `address`: that others reach this node at, `ip` or `ip:port`; empty: the only one that the host has.
  # `certificateMs`: as in `updateCluster`; 0: 90 days, or what it is.
  # `addressPools`, `addressPoolPrefix`: as in Cluster; empty and 0: what they are.
  # `token`: for workers; empty if the host has no address, so that nobody can join.

  createService @2 (requestId :Text, spec :Objects.ServiceSpec, resolveImage :Bool, login :Image.RegistryLogin) -> (service :Objects.Service, warnings :List(Text));
  updateService @3 (requestId :Text, id :Text, version :UInt64, spec :Objects.ServiceSpec, resolveImage :Bool, login :Image.RegistryLogin) -> (service :Objects.Service, warnings :List(Text));
  # `version` 0: whatever it is now. `resolveImage`: what the image's tag means now is pinned, so that
  # all tasks run the same; a warning says why if nobody can tell. Without it the spec is taken as it is.
  # `login`: for the image's registry, here and on the nodes; kept encrypted until the next one comes.
  scaleService @4 (requestId :Text, id :Text, replicas :UInt32) -> (service :Objects.Service, warnings :List(Text));
  removeService @5 (requestId :Text, id :Text) -> (serviceId :Text, warnings :List(Text));
  services @6 () -> (services :List(ServiceRow));
  service @7 (id :Text) -> (service :Objects.Service, running :UInt32);
  progress @8 (id :Text, after :UInt64, timeoutMs :UInt32) -> (revision :UInt64, progress :ServiceProgress) $Plugin.longRunning;
  # Answers when something about the service, or one of its tasks, is newer than `after`, or at the timeout.

  tasks @9 (filter :TaskFilter) -> (tasks :List(Objects.Task));
  task @10 (id :Text) -> (task :Objects.Task);
  nodes @11 () -> (nodes :List(Objects.Node));
  node @12 (id :Text) -> (node :Objects.Node);
  # `self`: the node that is asked.
  networks @13 () -> (networks :List(Objects.Network));
  network @14 (id :Text) -> (network :Objects.Network);
  logs @15 (id :Text, options :Runtime.LogOptions, sink :Runtime.LogSink) -> () $Plugin.longRunning;
  # Of a service (all its tasks) or of one task.

  volumes @16 () -> (volumes :List(NodeVolume), missing :List(Text));
  # Of all nodes that have a session; `missing` says why not of the others.
  removeVolume @17 (name :Text) -> (nodes :List(Text));
  # On every node that has one of the name. Fails if none has, and if a task uses it; asked again it
  # does no harm.
  pruneVolumes @18 () -> (removed :List(NodeVolume), missing :List(Text));
  # All that no task uses.

  joinToken @19 (requestId :Text, role :Trust.Role, rotate :Bool) -> (token :Text, address :Text);
  # `rotate`: the old one is refused from now on.
  join @20 (token :Text, managers :List(Text), address :Text) -> (state :Trust.TrustState) $Plugin.longRunning;
  # This host becomes a node of another cluster, and starts again as one. Fails, with nothing changed,
  # if its own has services. Without `managers`, those that discovery names.
  leave @21 (force :Bool) -> ();
  # This host becomes a cluster of its own again, and starts again as one. A manager needs `force`.
  updateNode @22 (requestId :Text, id :Text, change :NodeChange) -> (node :Objects.Node);
  removeNode @23 (requestId :Text, id :Text, force :Bool) -> (nodeId :Text);
  # Its certificate is refused from now on, and its tasks run elsewhere. One that is ready needs `force`.
  nodeProgress @24 (id :Text, after :UInt64, timeoutMs :UInt32) -> (revision :UInt64, progress :NodeProgress) $Plugin.longRunning;
  # As `progress`: how far a node is that is being emptied.
  addAdmin @25 (requestId :Text, name :Text, request :Text) -> (admin :Objects.Admin, authority :Text, managers :List(Text));
  # A certificate for somebody who is no host, for the key of a PKCS#10 request in PEM. `authority`: of
  # the cluster, PEM; `managers`: where it may be used.
  admins @26 () -> (admins :List(Objects.Admin));
  removeAdmin @27 (requestId :Text, name :Text) -> (adminId :Text);
  # Its certificate is refused from now on, and its connections end.
  updateCluster @28 (requestId :Text, change :ClusterChange) -> (cluster :Objects.Cluster);
  createNetwork @29 (requestId :Text, network :Objects.Network) -> (network :Objects.Network);
  # Of `network` counts what a user can say: name, driver, subnet, gateway, ipRange, reserved, labels,
  # options, internal, attachable.
  removeNetwork @30 (requestId :Text, id :Text) -> (networkId :Text);
  pruneNetworks @31 (requestId :Text, ids :List(Text)) -> (removed :List(Text));
  # Of these, those that nobody is on; names of what was removed.
  checkNetworks @32 (id :Text, repair :Bool) -> (nodes :UInt32, things :UInt32, findings :List(NodeFinding), missing :List(Text)) $Plugin.longRunning;
  # What the nodes' kernels have not as the state says, of one network or, with an empty `id`, of all
  # and of published ports. `nodes`: so many have answered, and looked at so many `things`; `missing`
  # says why not of other nodes, or of a node's plugins.
  plan @33 (changes :List(PlannedChange)) -> (plan :Plan) $Plugin.longRunning;
  # What would be started, stopped and left waiting, and where, if these were done one after another
  # and every container started at once. By the same decisions that would be made; nothing is changed.
  # A change that would be refused is refused with the same words.
  apply @34 (requestId :Text, planId :Text) -> (plan :Plan) $Plugin.longRunning;
  # Makes the changes of a plan, all of them or none. Refused if they would not do any more what the plan says, or if
  # the plan is not known: the last 100 are, for an hour, to the manager that made them.
  why @35 (id :Text) -> (answer :Placing);
  # Where a task, or the next one of a service, may run, and what keeps it from other nodes.
  rollbackService @36 (requestId :Text, id :Text, to :UInt64) -> (service :Objects.Service, warnings :List(Text));
  # The spec that the service had before is the one that it has, by its rollback policy. Asked once
  # more, it has the other one again. `to`: the number of a past spec; 0: of the last.
  exec @37 (id :Text, program :Runtime.Program, output :Runtime.ProgramOutput) -> (running :Runtime.RunningProgram, task :Text, node :Text) $Plugin.longRunning;
  # In the container of a task, wherever that runs; or of the one task of a service that runs. Where
  # `web.1` is two, as while it is updated, the newest that runs. The program ends when `running` is
  # dropped, when the session of its node is over (`wait` fails then) and when the container ends.
  # Never asked twice for the same: a call that broke off may have run it. `task`: `web.1`; `node`:
  # the host name. Events `task.exec` and `task.exec-ended` tell of it.
  replay @38 (scheduler :Text, sinceNs :Int64) -> (answer :Replayed) $Plugin.longRunning;
  # The decisions that the manager's journal has, since then, once more: by another strategy (`binpack`)
  # in the place of all, or without one by those that made them. Changes nothing. One at a time.
}

struct Replayed {
  # Decisions of the past, made once more as things stood then.
  firstNs @0 :Int64;                 # when the first of them was made; 0: there are none
  lastNs @1 :Int64;
  decisions @2 :UInt64;              # in which tasks were given nodes
  services @3 :List(ReplayedService);  # by name
  tasks @4 :List(ReplayedTask);      # that would be elsewhere, the oldest first, 1,000 at most
}

struct ReplayedService {
  service @0 :Text;
  tasks @1 :UInt32;                  # that were given nodes
  same @2 :UInt32;                   # that would have been given the same
  elsewhere @3 :UInt32;
  nowhere @4 :UInt32;                # that would have waited
}

struct ReplayedTask {
  atNs @0 :Int64;
  service @1 :Text;
  slot @2 :UInt32;
  node @3 :Text;                     # the host that it was given
  other @4 :Text;                    # that it would have been; empty: none
  reason @5 :Text;                   # why none
}

struct PlannedChange {
  union {
    create @0 :Objects.ServiceSpec;
    update :group {
      id @1 :Text;
      spec @2 :Objects.ServiceSpec;
    }
    remove @3 :Text;                 # a service
    scale :group {
      service @4 :Text;
      replicas @5 :UInt32;
    }
    node :group {
      node @6 :Text;
      change @7 :NodeChange;
    }
    lose @8 :Text;                   # a node: as if it went down; cannot be applied
    add @9 :Objects.NodeDescription; # a node like it: as if it joined; cannot be applied
    rollback @10 :Text;              # a service
    rollbackTo :group {
      service @11 :Text;
      number @12 :UInt64;            # of a past spec
    }
  }
}

struct Plan {
  id @0 :Text;                       # of what it says; the same again as long as that is the same
  steps @1 :List(PlannedStep);       # in the order in which they would be taken
  nodes @2 :List(PlannedNode);
  services @3 :List(PlannedService); # that the changes are about or touch
  unfinished @4 :Bool;               # it goes on after these steps; past so many they are not worked out
  warnings @5 :List(Text);           # of the changes
}

struct PlannedStep {
  enum Action { start @0; stop @1; wait @2; }
  action @0 :Action;
  service @1 :Text;
  slot @2 :UInt32;                   # 0: its slot is its node
  node @3 :Text;                     # the host name
  atMs @4 :UInt64;                   # after the changes, by delays and monitor times of updates alone
  reason @5 :Text;                   # why it waits
  image @6 :Text;                    # of what starts
}

struct PlannedNode {
  id @0 :Text;
  node @1 :Text;                     # the host name
  tasksBefore @2 :UInt32;
  tasks @3 :UInt32;                  # afterwards
  cpuNanos @4 :UInt64;               # that it has
  freeCpuNanos @5 :UInt64;           # that nothing has reserved afterwards
  memoryBytes @6 :UInt64;
  freeMemoryBytes @7 :UInt64;
}

struct PlannedService {
  id @0 :Text;
  name @1 :Text;
  desired @2 :UInt32;                # afterwards
  running @3 :UInt32;
  needs @4 :List(Text);              # host names of nodes without any of which not all of its tasks would run
  needsUnknown @5 :Bool;             # there are too many nodes to find out
  gone @6 :Bool;                     # it is removed
  update @7 :Text;                   # what becomes of its update, if that does not succeed
}

struct Placing {
  task @0 :Text;                     # `web.3`
  node @1 :Text;                     # the host name of the node that it is on; empty: it has none
  state @2 :Objects.TaskState;
  message @3 :Text;                  # what is said of its state
  nodes @4 :List(NodePlacing);       # that it is on first, then by score
}

struct NodePlacing {
  node @0 :Text;                     # the host name
  obstacles @1 :List(Text);          # rules that keep it from there, all of them; empty: none does
  remedies @2 :List(Text);           # what would take each of them away, in the same order; empty: nothing that one can do
  terms @3 :List(Scheduler.ScoreTerm);  # by what the strategy chooses; of nodes without obstacles
}

struct NodeFinding {
  # One thing on a node that is not as it should be.
  node @0 :Text;                     # the host name
  network @1 :Text;                  # by name; empty: published ports
  object @2 :Text;
  expected @3 :Text;                 # empty: it should not be there
  found @4 :Text;                    # empty: it is not there
  repaired @5 :Bool;
}

struct ClusterChange {
  # What is 0 stays as it is.
  certificateMs @0 :UInt64;          # how long certificates are good from now on, at least an hour
  taskHistoryLimit :union {
    same @1 :Void;
    set @2 :UInt32;                  # ended tasks kept per slot
  }
  imageLimit :union {
    same @3 :Void;
    setBytes @4 :UInt64;             # of images on each node; 0: none
  }
  rebalance :union {
    same @5 :Void;
    set :group {
      max @6 :UInt32;                # tasks; 0: none are moved
      everyMs @7 :UInt64;
    }
  }
}

struct NodeChange {
  availability :union {
    same @0 :Void;
    set @1 :Objects.Node.Availability;
  }
  addLabels @2 :List(Objects.KeyValue);
  removeLabels @3 :List(Text);
}

struct ClusterInfo {
  cluster @0 :Objects.Cluster;
  initialized @1 :Bool;
  nodes @2 :UInt32;
  managers @3 :UInt32;
  services @4 :UInt32;
  tasksRunning @5 :UInt32;
  leader @6 :Text;
  revision @7 :UInt64;
  epoch @8 :UInt64;
  store @9 :Text;
  self @10 :Trust.TrustState;        # what the node that is asked is itself; of a worker all that is told
}

struct ServiceRow {
  id @0 :Text;
  name @1 :Text;
  mode @2 :Text;
  running @3 :UInt32;
  desired @4 :UInt32;
  image @5 :Text;
  ports @6 :List(Objects.PortSpec);
  updateState @7 :Objects.UpdateStatus.State;
  labels @8 :List(Objects.KeyValue); # of the service
  completed @9 :UInt32;              # of a job: tasks of its newest run that have ended with status 0
  total @10 :UInt32;                 # of these, so many there will be
}

struct NodeVolume {
  name @0 :Text;
  driver @1 :Text;
  node @2 :Text;                     # the host name
  path @3 :Text;                     # on the node
  createdAtNs @4 :Int64;             # 0: unknown
  usedBy @5 :List(Text);             # tasks as `web.1`; ended ones that still have a container too
}

struct TaskFilter {
  serviceId @0 :Text;
  nodeId @1 :Text;
  desired @2 :Text;                  # running, shutdown, or empty for all
}

struct ServiceProgress {
  verdict @0 :Verdict;
  desired @1 :UInt32;
  running @2 :UInt32;                # of the current spec
  updated @3 :UInt32;                # slots that run the current spec
  update @4 :Objects.UpdateStatus;
  problem @5 :Text;                  # the newest error of a task, or why it waits; empty if none
  tasks @6 :List(TaskProgress);      # one per slot, by slot; of a removed service those that still stop
  # With more than 100 slots of `replicated`, at most 1,000 of those that are neither running nor well on the way.
  remaining @7 :UInt32;              # containers not yet gone
  allRun @8 :Bool;                   # as many tasks as there should be run, of whatever spec, and nothing is left to stop
  ended @9 :Bool;                    # there is nothing to watch: no task is wanted, or each came to a good end
  trying @10 :Bool;                  # some task is on its way to running
  unanswered @11 :List(Text);        # which of its ports which node does not answer on, and why, in whole sentences
  serving @12 :UInt32;               # tasks that run, of whatever spec
  job @13 :Bool;                     # its tasks end: `running` are under way, `desired` is their number in all
  completed @14 :UInt32;             # of the newest run of a job
}

struct NodeProgress {
  availability @0 :Objects.Node.Availability;
  state @1 :Objects.Node.State;
  left @2 :UInt32;                   # tasks there that have not ended
  waiting @3 :UInt32;                # of these, those that nobody has asked to end yet
  problem @4 :Text;                  # why the first of them is still there; empty if it is on its way
}

enum Verdict {
  # All in one word, so that nobody has to judge again.
  working @0;                        # it is on its way
  converged @1;                      # it is what it was asked to be
  paused @2;                         # its update is; `problem` says why
  stuck @3;                          # it will not get there by itself; `problem` says why
  stopping @4;                       # it was removed, and containers of it still stop
  gone @5;                           # it was removed, and nothing is left of it
}

struct TaskProgress {
  slot @0 :UInt32;
  state @1 :Objects.TaskState;
  error @2 :Text;
  nodeId @3 :Text;                   # instead of a slot's number, where the slot is a node
}
