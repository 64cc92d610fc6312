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
  init @1 (requestId :Text, name :Text, address :Text, certificateMs :UInt64, addressPools :List(Text), addressPoolPrefix :UInt8, autolock :Bool, externalAuthority :Objects.ExternalAuthority) -> (cluster :Objects.Cluster, created :Bool, token :Text, address :Text, unlockKey :Text);
  # Makes the cluster, or what it lacks for others to join it: an authority, and this node's certificate.
  # `address`: that others reach this node at, `ip` or `ip:port`; empty: the only one that the host has.
  # `certificateMs`: as in `updateCluster`; 0: 90 days, or what it is.
  # `addressPools`, `addressPoolPrefix`: as in Cluster; empty and 0: what they are.
  # `token`: for workers; empty if the host has no address, so that nobody can join.
  # `autolock`: as `updateCluster` sets it; `unlockKey` then.
  # `externalAuthority`: of a cluster that nobody could join until then, the authority that signs for it; null: its own.

  createService @2 (requestId :Text, spec :Objects.ServiceSpec, resolveImage :Bool, login :Image.RegistryLogin) -> (service :Objects.Service, warnings :List(Text));
  updateService @3 (requestId :Text, id :Text, version :UInt64, spec :Objects.ServiceSpec, resolveImage :Bool, login :Image.RegistryLogin) -> (service :Objects.Service, warnings :List(Text));
  # `version` 0: whatever it is now. `resolveImage`: what the image's tag means now is pinned, so that
  # all tasks run the same; a warning says why if nobody can tell. Without it the spec is taken as it is.
  # `login`: for the image's registry, here and on the nodes; kept encrypted until the next one comes.
  scaleService @4 (requestId :Text, id :Text, replicas :UInt32) -> (service :Objects.Service, warnings :List(Text));
  removeService @5 (requestId :Text, id :Text) -> (serviceId :Text, warnings :List(Text));
  services @6 () -> (services :List(ServiceRow), asOfNs :Int64);
  # What is read is as things are, no older than the call. But while nobody leads it is what this manager knew at
  # `asOfNs`; otherwise 0. `age` says why.
  service @7 (id :Text) -> (service :Objects.Service, running :UInt32, asOfNs :Int64);
  progress @8 (id :Text, after :UInt64, timeoutMs :UInt32) -> (revision :UInt64, progress :ServiceProgress) $Plugin.longRunning;
  # Answers when something about the service, or one of its tasks, is newer than `after`, or at the timeout.

  tasks @9 (filter :TaskFilter) -> (tasks :List(Objects.Task), asOfNs :Int64);
  task @10 (id :Text) -> (task :Objects.Task, asOfNs :Int64);
  nodes @11 () -> (nodes :List(Objects.Node), asOfNs :Int64);
  node @12 (id :Text) -> (node :Objects.Node, asOfNs :Int64);
  # `self`: the node that is asked.
  networks @13 () -> (networks :List(Objects.Network), asOfNs :Int64);
  network @14 (id :Text) -> (network :Objects.Network, asOfNs :Int64);
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
  admins @26 () -> (admins :List(Objects.Admin), asOfNs :Int64);
  removeAdmin @27 (requestId :Text, name :Text) -> (adminId :Text);
  # Its certificate is refused from now on, and its connections end.
  updateCluster @28 (requestId :Text, change :ClusterChange) -> (cluster :Objects.Cluster, unlockKey :Text);
  # `unlockKey`: if the managers are locked from now on.
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
  replay @38 (scheduler :Text, sinceNs :Int64, journal :Data) -> (answer :Replayed) $Plugin.longRunning;
  # The decisions that the manager's journal has, since then, once more: by another strategy (`binpack`)
  # in the place of all, or without one by those that made them. Changes nothing. One at a time.
  # `journal`: what a file of a journal holds, of whatever cluster, 24 MiB at most; empty: it is the
  # manager's own. One that is damaged is refused.
  usage @39 (ids :List(Text), nodes :Bool) -> (tasks :List(TaskUsage), nodes :List(NodeUsage));
  # Of tasks and of services' tasks, without `ids` of all; those that run or are thought to. By name.
  # One call to each node that has any, if `nodes` to all. Answered after 2 s at the latest: `missing`
  # says of whom nothing is known, and why. Whoever wants to see it go on asks again; nothing is
  # measured in between. Of more than 10,000 tasks it is refused.
  attach @40 (id :Text, input :Bool, size :Runtime.TerminalSize, output :Runtime.ProgramOutput) -> (running :Runtime.RunningProgram, terminal :Bool, takesInput :Bool, task :Text, node :Text) $Plugin.longRunning;
  # The own process of a task, chosen as by `exec`. It goes on when `running` is dropped. Events
  # `task.attach` and `task.attach-ended` tell of it.
  processes @41 (id :Text) -> (processes :List(Runtime.ContainerProcess), more :UInt32, task :Text, node :Text);
  # Of one task, chosen as by `exec`.
  migrate @42 (store :Text) -> (objects :UInt64, pausedMs :UInt64, name :Text) $Plugin.longRunning;
  # The state into another store, as `store.etcd`, which every manager has to have in its manifest, or as
  # `etcd://host:port,host:port/prefix`: the one of the manifest whose servers these are; `name` says which it is. Changes
  # wait meanwhile, `pausedMs`; tasks run on. What it answers is durable; asked again, it says so.
  status @43 () -> (status :ClusterStatus);
  # As the manager that is asked knows it, whether anybody leads or not. Answered within some seconds.
  age @44 () -> (asOfNs :Int64, reason :Text);
  # What a read would be answered from now, and why nobody leads. An answer that is of before says so itself: by the time
  # that this is asked somebody may lead, or may do so no more.
  backup @45 (sink :ByteSink) -> (summary :BackupSummary) $Plugin.longRunning;
  # A file as in backup.capnp, of one moment, from its first byte to its last. Any manager makes it, whether anybody
  # leads or not. Whoever has it can do all that a manager can.
  restore @46 (requestId :Text, address :Text) -> (upload :BackupUpload);
  # What such a file says becomes the cluster of this host, which has joined none, has no services, and keeps its state
  # in a store of its own. `address`: as in `init`, if others are to reach it.
  forceNew @47 (requestId :Text) -> (store :Text, asOfNs :Int64, removed :List(Text)) $Plugin.longRunning;
  # Of a cluster whose managers have lost their store, or each other, for good: this manager goes on alone with what it
  # knows, in a store of its own. The other managers are nodes of it no more: `removed`, their host names. Refused if
  # anybody leads.
  authority @48 (after :UInt64, timeoutMs :UInt32) -> (revision :UInt64, certificate :Text, rotation :Rotation) $Plugin.longRunning;
  # The certificate of the cluster's authority, PEM, and how far it has taken the place of the one before. As `progress`.
  rotateAuthority @49 (requestId :Text, certificate :Text, key :Text, certificateMs :UInt64, externalAuthority :Objects.ExternalAuthority) ->
    (certificate :Text);
  # Another authority takes the place of the cluster's, and all nodes get certificates of it, at once or when they
  # return; tokens of before are refused. `certificate`, `key`: PEM, of one that the user has; empty: a new one.
  # `externalAuthority`: one that others have the key of, instead of these two; null: none.
  # `certificateMs`: as in `updateCluster`; 0: as it is. Asked while one takes its place, yet another one does.
  unlockKey @50 (requestId :Text, rotate :Bool) -> (key :Text);
  # `ORCHKEY-1-…`, which a manager that starts again waits for; empty: it does not. `rotate`: another one from now on.
}

interface ByteSink {
  write @0 (bytes :Data) -> ();
  # In order; the next one may be sent before this one is answered.
}

interface BackupUpload {
  write @0 (bytes :Data) -> ();
  # In order.
  finish @1 () -> (summary :BackupSummary, address :Text) $Plugin.longRunning;
  # That was all. Fails, with nothing changed, if it was no whole backup. `address`: that others reach this node at.
}

struct BackupSummary {
  cluster @0 :Text;                  # its id
  name @1 :Text;
  atNs @2 :Int64;                    # of the moment that it shows
  objects @3 :UInt64;
  secrets @4 :Bool;                  # it has the key of the cluster's authority, or one of registries' logins
}

struct ClusterStatus {
  cluster @0 :Text;                  # its name; empty: the manager that is asked does not know
  node @1 :Text;                     # the host name of the one that is asked
  role @2 :Text;                     # of that one: leader, follower, or none while it has no leader
  leader @3 :Text;                   # its host name; empty: nobody leads
  epoch @4 :UInt64;
  ledSinceNs @5 :Int64;
  problem @6 :Text;                  # why nobody leads, and what to do
  asOfNs @7 :Int64;                  # 0: all this is so now; else it was then, as nobody leads
  managers @8 :List(ManagerStatus);  # by name
  canLose @9 :UInt32;                # so many managers, one after the other, and another one leads yet; servers of the store aside
  store @10 :StoreStatus;
  objects @11 :UInt64;               # of the state
  bytes @12 :UInt64;                 # of these, in memory
  revision @13 :UInt64;
}

struct ManagerStatus {
  enum Reach { unknown @0; leader @1; reachable @2; unreachable @3; }
  id @0 :Text;
  name @1 :Text;                     # the host name; empty: unknown
  address @2 :Text;                  # that others reach it at
  reach @3 :Reach;
  reason @4 :Text;                   # why it is unreachable; if it is not, what is wrong with its way to the state
  behindMs @5 :Int64 = -1;           # of a follower: the copy of the state that it can be read from; -1: it has none
}

struct StoreStatus {
  # As the manager that is asked reaches it.
  name @0 :Text;                     # the service, as `store.etcd`
  shared @1 :Bool;                   # other hosts reach it as well
  latencyUs @2 :UInt64;              # of one answer; 0: there is none
  problem @3 :Text;                  # what is wrong with it, and what to do; empty: nothing
  uri @4 :Text;                      # see Store.limits
}

struct Rotation {
  runs @0 :Bool;                     # some node has a certificate of an authority of before, which is trusted yet
  nodes @1 :UInt32;
  renewed @2 :UInt32;                # of these, so many have one of the authority
  waiting @3 :List(Text);            # host names of those that have not, and are there
  away @4 :List(Text);               # and that are not: they follow when they return
}

struct TaskUsage {
  task @0 :Text;                     # `web.1`
  node @1 :Text;                     # the host name
  usage @2 :Runtime.ContainerUsage;  # by the task's id
  missing @3 :Text;                  # why nothing else is known of it
  cpuNanos @4 :Int64 = -1;           # billionths of a core that it used of late: what two answers say together, for whoever asks again
}

struct NodeUsage {
  id @0 :Text;
  node @1 :Text;                     # the host name
  tasks @2 :UInt32;                  # there that have not ended
  cpuNanos @3 :UInt64;               # that it has
  memoryBytes @4 :UInt64;
  reservedCpuNanos @5 :UInt64;       # by these tasks
  reservedMemoryBytes @6 :UInt64;
  host @7 :Runtime.HostUsage;
  missing @8 :Text;                  # why nothing is known of `host`
  usedCpuNanos @9 :Int64 = -1;       # as `cpuNanos` of a task, of the whole node
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
  generic @8 :List(Objects.GenericResource);  # that it has, without names
  freeGeneric @9 :List(Objects.GenericResource);  # that no task has afterwards, the same kinds
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
  autolock :union {
    same @8 :Void;
    set @9 :Bool;                    # whether managers that start again wait for a key
  }
}

struct NodeChange {
  availability :union {
    same @0 :Void;
    set @1 :Objects.Node.Availability;
  }
  addLabels @2 :List(Objects.KeyValue);
  removeLabels @3 :List(Text);
  role :union {                      # refused for a manager if no other one is there
    same @4 :Void;
    set @5 :Objects.Node.Role;
  }
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
  generic @11 :List(Objects.GenericResource);  # of all nodes, without names
  genericInUse @12 :List(Objects.GenericResource);  # of these, by tasks
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
