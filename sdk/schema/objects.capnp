@0xd2c1a5a0b7f1c001;
# The objects of the cluster's state. Each keeps what a user asked for (`spec`) apart from what the
# system found out (`status`). Durations are milliseconds, times are nanoseconds since the epoch,
# memory is bytes, cpu is billionths of a core. An empty text means "not set".

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::schema");

struct KeyValue {
  key @0 :Text;
  value @1 :Text;
}

struct Meta {
  id @0 :Text;             # 25 characters of [a-z0-9], unique in the cluster, never reused
  version @1 :UInt64;      # the store's revision that wrote it last; an update must name it
  createdAtNs @2 :Int64;
  updatedAtNs @3 :Int64;
}

# ---- service ------------------------------------------------------------------------------------

struct ServiceSpec {
  name @0 :Text;                     # [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}; cannot be changed later
  labels @1 :List(KeyValue);         # on the service, not on its containers
  mode :union {
    replicated @2 :Replicated;
    global @3 :Void;                 # one task on each node that meets the constraints
    replicatedJob @8 :ReplicatedJob; # tasks that end: so many in all have to end with status 0
    globalJob @9 :Void;              # one such task on each node that meets the constraints
  }
  task @4 :TaskSpec;
  update @5 :UpdateConfig;
  endpoint @6 :EndpointSpec;
  rollback @7 :UpdateConfig;         # how it goes back to the spec before, by itself or because a user says so
  schedule @10 :Text;                # of a job: when it runs anew, as cron says it, `0 3 * * *`, in UTC; empty: once for each spec
  dependsOn @11 :List(Dependency);   # services that have to be there before it is first started; removed together, they go after it
}

struct Dependency {
  enum Condition { started @0; healthy @1; completed @2; }
  # started: all tasks that it wants run; healthy: and are healthy, where they are checked;
  # completed: a job's, that its newest run has ended well.
  service @0 :Text;                  # name
  condition @1 :Condition;
}

struct Replicated {
  replicas @0 :UInt32 = 1;
}

struct ReplicatedJob {
  completions @0 :UInt32 = 1;
  maxConcurrent @1 :UInt32;          # tasks at a time; 0: all of them
}

struct TaskSpec {
  container @0 :ContainerSpec;
  resources @1 :Resources;
  restart @2 :RestartPolicy;
  placement @3 :Placement;
  networks @4 :List(NetworkAttachment);  # empty: `bridge`. `host` and `none` stand alone
  runtime @5 :Text;                  # `crun`, `runc`, `sim`; empty: the node's first that works
  forceUpdate @6 :UInt64;            # counted up to replace tasks whose spec is unchanged
  log @7 :LogConfig;
}

struct NetworkAttachment {
  name @0 :Text;
  aliases @1 :List(Text);            # that the service is found by there, beside its own name
}

struct ContainerSpec {
  image @0 :Text;                    # reference as the user wrote it
  imageDigest @1 :Text;              # `sha256:…` of the manifest that the reference meant; may be empty
  command @2 :List(Text);            # replaces the image's entrypoint; one empty text takes it away
  args @3 :List(Text);               # replaces the image's command
  env @4 :List(Text);                # KEY=value
  user @5 :Text;                     # name|uid[:group|gid]
  workdir @6 :Text;
  hostname @7 :Text;
  labels @8 :List(KeyValue);
  mounts @9 :List(Mount);
  readOnly @10 :Bool;                # of the root file system
  ulimits @11 :List(Ulimit);
  init @12 :Bool;                    # an init as pid 1 that reaps
  stopSignal @13 :Text;              # `SIGTERM`, `TERM` or `15`; empty: the image's, else SIGTERM
  stopGraceMs @14 :UInt64 = 10000;   # after it: SIGKILL
  capAdd @15 :List(Text);            # `NET_ADMIN` or `CAP_NET_ADMIN`, `ALL`
  capDrop @16 :List(Text);
  sysctls @17 :List(KeyValue);
  tty @18 :Bool;
  hosts @19 :List(Text);             # extra lines of /etc/hosts, `name:address`
  groups @20 :List(Text);            # supplementary
  oomScoreAdj @21 :Int16;
  dns @22 :List(Text);               # servers; empty: the host's
  dnsSearch @23 :List(Text);
  dnsOptions @24 :List(Text);
  drainMs @25 :UInt64 = 10000;       # before the stop signal: as long as a connection to it is under way, at most
  health @26 :HealthCheck;
  interactive @27 :Bool;             # whoever attaches may write to its stdin, which stays open; with `tty` he may without
}

struct HealthCheck {
  # A program that is run in the container again and again. A task is RUNNING when it was first
  # healthy; one that is unhealthy is stopped and counts as FAILED.
  test @0 :List(Text);               # `CMD` and its words, or `CMD-SHELL` and one text for the shell; `NONE`: no check; empty: the image's, if it has one
  intervalMs @1 :UInt64;             # between two; 0 in this one and the others: the image's, else 30 s
  timeoutMs @2 :UInt64;              # of one; else 30 s
  retries @3 :UInt32;                # so many that failed one after another are unhealthy; else 3
  startPeriodMs @4 :UInt64;          # in which one that fails does not count until the first that does not; else 0
  startIntervalMs @5 :UInt64;        # between two then; else 5 s
}

struct Mount {
  enum Type { bind @0; volume @1; tmpfs @2; }
  type @0 :Type;
  source @1 :Text;                   # bind: absolute path that exists; volume: name, or empty for one of its own
  target @2 :Text;                   # absolute path
  readOnly @3 :Bool;
  propagation @4 :Text;              # bind: rprivate (default), private, rshared, shared, rslave, slave
  tmpfsSizeBytes @5 :UInt64;         # 0: unlimited
  tmpfsMode @6 :UInt32 = 1023;       # 01777; whatever the image's folder has
}

struct Ulimit {
  name @0 :Text;                     # `nofile`
  soft @1 :Int64;                    # -1: unlimited
  hard @2 :Int64;
}

struct Resources {
  limitCpuNanos @0 :UInt64;          # 0: unlimited; at least 1,000,000 (0.001 of a core)
  limitMemoryBytes @1 :UInt64;       # 0: unlimited; at least 4 MiB
  limitPids @2 :UInt64;              # 0: unlimited
  reserveCpuNanos @3 :UInt64;        # for the scheduler only
  reserveMemoryBytes @4 :UInt64;
  memorySwapBytes @5 :Int64;         # memory plus swap; 0: the runtime's default, -1: unlimited
  generic @6 :List(GenericResource); # for the scheduler only; each kind once
}

struct GenericResource {
  # What a node has beside cores and memory, as its manifest says: so many of a kind, or a set of
  # them by name. A task has what it wants to itself, from when it is given its node until it has
  # ended, and is told in its environment: DOCKER_RESOURCE_GPU=GPU-1,GPU-2, or the number if they
  # have no names. Nothing keeps a program from more than that.
  kind @0 :Text;                     # [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}, `gpu`
  amount @1 :UInt64;                 # 1 to 1,000,000; of a set the number of `names`
  names @2 :List(Text);              # of a set; never of what a service wants
}

struct RestartPolicy {
  enum Condition { any @0; onFailure @1; none @2; }
  condition @0 :Condition;
  delayMs @1 :Int64 = -1;            # -1: back-off from 0 (then 100 ms, doubled up to 30 s, forgotten after 60 s of running)
  maxAttempts @2 :UInt64;            # 0: unlimited
  windowMs @3 :UInt64;               # attempts are counted within it; 0: for ever
}

struct Placement {
  constraints @0 :List(Text);        # of the filter `constraint`: `node.labels.zone==a`; ` ~ 10` at the end: only preferred, and so much
  strategy @1 :Text;                 # scheduler plugin, `spread`; empty: the cluster's default
  maxReplicasPerNode @2 :UInt32;     # 0: no limit
  tolerateDownMs @3 :UInt64;         # tasks on a node that is down are replaced only after so long
  spreadOver @4 :List(Text);         # labels, `node.labels.zone`: tasks are spread evenly over their values, then within each over those of the next
  filters @5 :List(Text);            # `affinity:service==web`, by filter plugin; a weight at the end as above
}

struct UpdateConfig {
  enum Order { stopFirst @0; startFirst @1; }
  enum FailureAction { pause @0; continue @1; rollback @2; }
  parallelism @0 :UInt32 = 1;        # 0: all at once
  delayMs @1 :UInt64;                # between batches
  order @2 :Order;
  failureAction @3 :FailureAction;
  monitorMs @4 :UInt64 = 5000;       # a task that fails within it after RUNNING counts as a failed update
  maxFailureRatio @5 :Float32;       # 0..1
  progressDeadlineMs @6 :UInt64 = 600000;  # a task that is not RUNNING by then counts as failed; 0: none
}

struct EndpointSpec {
  enum Mode { vip @0; dnsrr @1; }
  enum Algorithm { rr @0; lc @1; sh @2; }
  # Which task a new connection to the virtual address goes to: the next in turn; the one with the
  # fewest connections (where the kernel balances by IPVS, else as rr); one chosen by the client's
  # address, the same while the tasks are the same.
  mode @0 :Mode;
  ports @1 :List(PortSpec);
  algorithm @2 :Algorithm;
  persistenceMs @3 :UInt64;          # a client's next connection within it goes where its last one went; 0: never
}

struct PortSpec {
  enum Protocol { tcp @0; udp @1; }
  enum PublishMode { ingress @0; host @1; }
  target @0 :UInt16;                 # in the container
  published @1 :UInt16;              # on the node; 0: one of 30000-32767 is chosen (ingress), or any (host)
  protocol @2 :Protocol;
  mode @3 :PublishMode;
  preferLocal @4 :Bool;              # of ingress: a node with tasks of its own leads to these alone
}

struct LogConfig {
  maxBytes @0 :UInt64 = 10485760;    # a file is rotated past it
  maxFiles @1 :UInt32 = 3;           # rotated files kept beside the current one
}

struct Service {
  meta @0 :Meta;
  spec @1 :ServiceSpec;
  previousSpec @2 :ServiceSpec;      # null before the first update
  specVersion @3 :UInt64;            # counted up when `spec` changes; tasks carry the one they were made from
  update @4 :UpdateStatus;
  ports @5 :List(PortSpec);          # with the chosen published ports
  specAtNs @6 :Int64;                # when a user last changed `spec`
  sealedLogin @7 :Data;              # for the registry of the image, encrypted; shown to nobody
  addresses @8 :List(VirtualAddress);  # one for each of its networks that span hosts, while it is balanced
  job @9 :JobStatus;                 # of a job
  history @10 :List(PastSpec);       # that it had before `spec`, the newest first; a few
}

struct PastSpec {
  specVersion @0 :UInt64;
  spec @1 :ServiceSpec;              # null: `previousSpec`, of the newest
  specAtNs @2 :Int64;                # when a user had it so
  outcome @3 :UpdateStatus;          # of the update to it
  number @4 :UInt64;                 # that a user knows it by; each change of the spec counts, whether tasks change for it or not
}

struct JobStatus {
  iteration @0 :UInt64;              # of the newest run; counted up by each
  startedAtNs @1 :Int64;
  endedAtNs @2 :Int64;               # 0: it is under way
  nextAtNs @3 :Int64;                # when its schedule starts the next one; 0: never
  past @4 :List(JobRun);             # that have ended, the newest first; a few
}

struct JobRun {
  iteration @0 :UInt64;              # 0: it was skipped, since the one before was under way at its time
  startedAtNs @1 :Int64;
  endedAtNs @2 :Int64;
  completed @3 :UInt32;              # tasks that ended with status 0
  failed @4 :UInt32;                 # that did not
  message @5 :Text;                  # why it ended before all were completed
}

struct VirtualAddress {
  network @0 :Text;                  # id
  address @1 :Text;                  # without the prefix length
  address6 @2 :Text;                 # IPv6, of a network that has it
}

struct UpdateStatus {
  enum State { none @0; updating @1; paused @2; completed @3; rollbackStarted @4; rollbackPaused @5; rollbackCompleted @6; }
  state @0 :State;
  startedAtNs @1 :Int64;
  completedAtNs @2 :Int64;
  message @3 :Text;
}

# ---- task ---------------------------------------------------------------------------------------

enum TaskState {
  # In this order; an observed state never goes back.
  new @0;
  pending @1;       # waits for a node
  assigned @2;      # has a node
  accepted @3;      # the node's agent has it
  preparing @4;     # image, network, bundle
  ready @5;         # could be started at once; waits here while desired is `ready`
  starting @6;
  running @7;
  complete @8;      # ended by itself with status 0
  shutdown @9;      # ended because it was asked to
  failed @10;       # ended by itself, or could not be started
  rejected @11;     # could not be prepared
  remove @12;       # desired only: stop it, then forget it
  orphaned @13;     # its node has been away too long
}

struct Task {
  meta @0 :Meta;
  serviceId @1 :Text;
  serviceName @2 :Text;
  slot @3 :UInt32;                   # 1 and up; 0: its slot is its node
  nodeId @4 :Text;                   # empty until assigned
  spec @5 :TaskSpec;
  specVersion @6 :UInt64;
  desired @7 :TaskState;             # ready, running, shutdown or remove; written by the manager only
  status @8 :TaskStatus;             # written by the agent once assigned; in the store a record of its own
  ports @9 :List(PortSpec);
  restartOf @10 :Text;               # the task of the same slot that this one replaces
  startAfterNs @11 :Int64;           # desired becomes running then; 0: not waiting for a time
  serviceLabels @12 :List(KeyValue);
  restarts @13 :UInt32;              # of this slot before it, since the spec last changed
  desiredAtNs @14 :Int64;            # since when `desired` is shutdown or remove
  legs @15 :List(Leg);               # given with its node; into networks that span hosts only
  iteration @16 :UInt64;             # of a job: the run that it is of
  generic @17 :List(GenericResource);  # that it has of its node; given with that
  byNode @18 :Bool;                  # its node made it, while no manager was there
}

struct Leg {
  # What a task has of a network.
  network @0 :Text;                  # id
  address @1 :Text;                  # `10.0.1.5/24`
  internal @2 :Bool;                 # no way out of the network
  address6 @3 :Text;                 # `fd00:1::5/64`; empty: the network has no IPv6
}

struct TaskStatus {
  state @0 :TaskState;
  atNs @1 :Int64;                    # when the state was reached, by the node's clock
  message @2 :Text;
  error @3 :Text;
  container @4 :ContainerStatus;
  addresses @5 :List(Text);          # of its network legs
  hostPorts @6 :List(PortSpec);      # mode=host, with the chosen published ports
  runningAtNs @7 :Int64;             # when the manager learned that it runs; 0: it never has
  endedAtNs @8 :Int64;               # the same of its end
}

# What a task is before anything was said of it.
const pendingStatus :TaskStatus = (state = pending, message = "created");
const assignedStatus :TaskStatus = (state = assigned, message = "assigned to a node");

enum Health {
  none @0;                           # it is not checked
  starting @1;                       # it was not healthy yet
  healthy @2;
  unhealthy @3;
}

struct ContainerStatus {
  id @0 :Text;
  pid @1 :UInt32;
  exitCode @2 :Int32;                # 128 + signal if a signal ended it
  oomKilled @3 :Bool;
  lost @4 :Bool;                     # its end was not seen: its node, or its conmon, went down
  health @5 :Health;
  healthOutput @6 :Text;             # of the last check that failed; its end, if it is long
}

# ---- node, network, cluster ---------------------------------------------------------------------

struct Node {
  enum State { unknown @0; ready @1; down @2; }
  enum Availability { active @0; pause @1; drain @2; }
  enum Role { worker @0; manager @1; }
  meta @0 :Meta;
  description @1 :NodeDescription;
  labels @2 :List(KeyValue);
  state @3 :State;                   # not stored: who is alive is in the leader's memory
  availability @4 :Availability;
  role @5 :Role;                     # not stored
  leader @6 :Bool;                   # not stored: who holds the epoch
  message @7 :Text;                  # about `state`; not stored
  address @8 :Text;
  downSinceNs @9 :Int64;             # 0: it is not down
  downReason @10 :Text;              # why it is thought to be
  stateSinceNs @11 :Int64;           # of `state`; not stored
  problems @12 :List(Text);          # what a user should see to, in whole sentences; not stored
  manages @13 :Bool;                 # it was given a manager's certificate
  genericInUse @14 :List(GenericResource);  # that its tasks have; counted when it is asked for
  authority @15 :Text;               # digest of the one whose certificate it has, since one was last replaced; empty: of one before
}

struct NodeDescription {
  hostname @0 :Text;
  os @1 :Text;
  architecture @2 :Text;             # as `uname -m`
  cpuNanos @3 :UInt64;
  memoryBytes @4 :UInt64;
  engineVersion @5 :Text;
  engineLabels @6 :List(KeyValue);   # [node].labels of the manifest
  plugins @7 :List(Text);            # ids of the running plugins
  runtimes @8 :List(Text);           # names that work, best first
  networks @9 :List(NetworkPool);
  address @10 :Text;                 # `ip:port` that other nodes reach it at; empty: none do
  routes @11 :List(Text);            # CIDRs that the host itself reaches or has, without its default route
  unanswered @12 :List(Text);        # published ports of tasks elsewhere that it does not answer on: `8080/tcp: why`
  balancer @13 :Text;                # what leads connections to virtual addresses there: ipvs or nft; empty: nothing
  encryptionKey @14 :Text;           # public, of its WireGuard device, in base64; empty: it can be on no encrypted network
  encryptionProblem @15 :Text;       # why it cannot
  generic @16 :List(GenericResource);  # [node].resources of the manifest; each kind once
}

struct NetworkPool {
  name @0 :Text;
  total @1 :UInt32;                  # addresses for tasks
  used @2 :UInt32;                   # by tasks; counted when it is asked for
  driver @3 :Text;
  subnet @4 :Text;                   # CIDR
  gateway @5 :Text;
}

struct Network {
  meta @0 :Meta;
  name @1 :Text;
  driver @2 :Text;                   # bridge, host, none, overlay
  scope @3 :Text;                    # local (each node its own) or cluster
  subnet @4 :Text;                   # CIDR, may be empty
  gateway @5 :Text;
  labels @6 :List(KeyValue);
  options @7 :List(KeyValue);
  ipRange @8 :Text;                  # CIDR that tasks get their addresses from; empty: all of the subnet
  reserved @9 :List(KeyValue);       # --aux-address: addresses that no task gets, by what they are for
  internal @10 :Bool;                # no way out of it
  attachable @11 :Bool;              # containers that are no tasks may join it
  vni @12 :UInt32;                   # of its VXLAN; 0: it has none
  services @13 :List(NetworkUser);   # on it, by name; not stored, and told of one network at a time
  tasks @14 :List(NetworkUser);      # that have a leg in it; the same
  releasedAtNs @15 :Int64;           # when one of its addresses was last given back by what is forgotten
  subnet6 @16 :Text;                 # CIDR of its IPv6 addresses; empty: it has none
  # Whoever has an IPv4 address of the network has its twin as well, virtual ones too: the one at the
  # same place in `subnet6`, or in `ipRange6` if there is one, as its own is in `subnet`. Which is
  # why these have at least as many addresses.
  gateway6 @17 :Text;
  ipRange6 @18 :Text;                # CIDR that the twins are of; empty: `subnet6`
  ipv6 @19 :Bool;                    # asked for: without `subnet6` one is chosen
}

struct NetworkUser {
  id @0 :Text;
  name @1 :Text;                     # `web`; of a task `web.1`
  address @2 :Text;                  # virtual, empty if it has none; of a task with the prefix length
  node @3 :Text;                     # host name; of a task
  aliases @4 :List(Text);            # of a service
}

struct Admin {
  # Somebody who may do everything from any host that reaches a manager.
  meta @0 :Meta;
  name @1 :Text;
  certificate @2 :Text;              # PEM
  fingerprint @3 :Text;              # of the certificate: SHA-256 as DER, in hexadecimal
  notAfterNs @4 :Int64;
}

struct Cluster {
  meta @0 :Meta;
  name @1 :Text;
  taskHistoryLimit @2 :UInt32 = 5;   # ended tasks kept per slot
  defaultStrategy @3 :Text = "spread";
  authority @4 :Text;                # certificate in PEM; empty: a cluster of one host, nobody can join
  workerSalt @5 :Text;               # of the join token: its secret comes from this and the authority's key. Empty: there is none
  managerSalt @6 :Text;
  certificateMs @7 :UInt64 = 7776000000;  # how long a node's certificate is good: 90 days
  addressPools @8 :List(Text);       # CIDRs that networks get their subnets from; empty: 10.0.0.0/8
  addressPoolPrefix @9 :UInt8 = 24;  # length of such a subnet's prefix
  imageLimitBytes @10 :UInt64;       # of images on each node; past it those go that nobody needs. 0: none go
  rebalanceMax @11 :UInt32;          # tasks that may be moved within `rebalanceEveryMs` to even the nodes out; 0: none
  rebalanceEveryMs @12 :UInt64;
  rebalancedAtNs @13 :Int64;         # when tasks were last moved for that
  formerAuthorities @14 :List(FormerAuthority);  # the newest first, a few
  sealedLockKey @15 :Data;           # of managers that start again, encrypted; shown by `unlockKey` alone. Empty: they are not locked
  autolock @16 :Bool;                # whether they are; not stored
  externalAuthority @17 :ExternalAuthority;  # that signs certificates; null: the managers do, with a key of `authority`
}

struct ExternalAuthority {
  # Who signs the certificates of a cluster whose managers have no key of its authority.
  protocol @0 :Text;                 # cfssl: its HTTP API
  url @1 :Text;                      # where it signs, as `https://10.0.0.9:8888/api/v1/cfssl/sign`
  certificate @2 :Text;              # PEM, of the authority; `url` shows a certificate of it, too. Empty in a request: it is asked for there,
                                     # and the system's authorities vouch for that
}

struct FormerAuthority {
  # One that another one has taken the place of.
  certificate @0 :Text;              # PEM, like the next
  crossed @1 :Text;                  # of the one that came next, signed by this one
  sealedNext @2 :Data;               # that one with its key, encrypted with this one's, until all managers have it; shown to nobody
  trusted @3 :Bool;                  # some node may have a certificate of it yet; else only admins may
  replacedAtNs @4 :Int64;
}
