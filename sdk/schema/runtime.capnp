@0xd2c1a5a0b7f1c006;
# The kind `runtime`: containers of one node. A container's id is its task's id. Containers outlive
# the plugin: after `recover` those of the last run are listed, with their pid or their exit status.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface Runtime {
  info @0 () -> (name :Text, version :Text, usesImages :Bool, cgroups :Text);
  create @1 (request :ContainerRequest, waiting :Waiting) -> (container :Container) $Plugin.longRunning;
  # Bundle, root file system, processes up to the point before the user's program. Idempotent: an id
  # that exists is answered as it is. On failure nothing is left. `waiting`, which may be missing,
  # hears what it waits for if it takes long; `stop` and `remove` break that off.
  start @2 (id :Text) -> (container :Container) $Plugin.longRunning;
  # Runs the user's program. A second call answers as the first.
  wait @3 (id :Text) -> (exit :ExitStatus) $Plugin.longRunning;
  # Answers when it has ended, at once if it has.
  stop @4 (id :Text, signal :Text, graceMs :UInt64) -> (exit :ExitStatus) $Plugin.longRunning;
  # The signal (empty: the image's, else SIGTERM), after the grace period SIGKILL.
  remove @5 (id :Text) -> () $Plugin.longRunning;
  # Ends it if it runs, then takes away processes, mounts, cgroup and files. Gone already is success.
  list @6 () -> (containers :List(Container));
  logs @7 (id :Text, options :LogOptions, sink :LogSink) -> () $Plugin.longRunning;

  # Named volumes. The runtimes of a node share them: whichever is asked answers for all.
  volumes @8 () -> (volumes :List(Volume));
  # By name.
  removeVolume @9 (name :Text) -> (found :Bool);
  # With all that is in it. Refused while a task uses it, with the tasks' ids. There is none of that
  # name: `found` is false, and nothing has been done, so that a repeated call does no harm.
  pruneVolumes @10 () -> (removed :List(Text));
  # Removes all that no task uses, and names them.
  run @11 (id :Text, command :List(Text), timeoutMs :UInt64, maxOutputBytes :UInt32) -> (exitCode :Int32, timedOut :Bool, output :Data) $Plugin.longRunning;
  # A program in a container that runs, as its user, with its environment, working directory and
  # limits, to its end. After `timeoutMs` it is killed with all that it has started. `output`: the
  # last bytes of stdout and stderr. Fails if it cannot be started, saying why. The container's own
  # end, `stop` and `remove` end it.
  exec @12 (id :Text, program :Program, output :ProgramOutput) -> (running :RunningProgram) $Plugin.longRunning;
  # The same for somebody who looks on: answered when it has been started, or could not be. The
  # program is ended with all that it has started when `running` is dropped, when the plugin ends
  # and when the container does. What it leaves behind when it ends by itself stays in the container.
  attach @13 (id :Text, input :Bool, size :TerminalSize, output :ProgramOutput) -> (running :RunningProgram, terminal :Bool, takesInput :Bool) $Plugin.longRunning;
  # The container's own process, as if it had been started by `exec`: what it writes from now on, and
  # if `input` what it reads. It goes on when `running` is dropped, as after `letGo`; `wait` answers
  # with its exit status. What comes faster than it is taken is left out, which is said on stderr:
  # somebody who looks on holds up nothing. Several may. `terminal`: it has one, which gets `size`;
  # `takesInput`: it has that, or its spec says `interactive`. Its input stays open after `closeInput`.
  usage @14 (ids :List(Text)) -> (usages :List(ContainerUsage));
  # Of these, those that run; in any order, at most once each. Nothing is measured between two calls.
  processes @15 (id :Text) -> (processes :List(ContainerProcess), more :UInt32);
  # That run in it, by pid; at most 1,000, and how many more there are.
}

struct ContainerUsage {
  # What a container has used since its start, and has at present. -1: nobody can tell.
  id @0 :Text;
  atNs @1 :Int64;                    # when this was measured: by a clock of the node that is never set
  cpuNs @2 :Int64 = -1;              # that its processes ran, on all cores together
  memoryBytes @3 :Int64 = -1;        # without files' contents that were not used lately
  memoryLimitBytes @4 :Int64 = -1;   # that it may have; without a limit what the node has
  receivedBytes @5 :Int64 = -1;      # by its network namespace, without lo; the host's does not count
  sentBytes @6 :Int64 = -1;
  readBytes @7 :Int64 = -1;          # from disks
  writtenBytes @8 :Int64 = -1;
  pids @9 :Int64 = -1;               # processes and threads
}

struct HostUsage {
  # The same of a whole node, its system and what else runs there included.
  atNs @0 :Int64;
  cpuNs @1 :Int64 = -1;              # that its cores were busy since it was switched on
  memoryBytes @2 :Int64 = -1;        # that cannot be given to others at once
}

struct ContainerProcess {
  pid @0 :UInt32;                    # in the node's pid namespace
  parent @1 :UInt32;
  uid @2 :UInt32;
  user @3 :Text;                     # by the container's /etc/passwd; empty: it has none of that number
  cpuNs @4 :UInt64;                  # that it ran
  command @5 :Text;                  # with its words, at most 4 KiB; of what has none `[name]`
}

struct Program {
  # What `exec` runs. Without more than a command it is run as the container's own process is: user,
  # groups, environment, working directory, capabilities, seccomp filter, limits, cgroups, namespaces.
  command @0 :List(Text);            # at least one word; 128 KiB in all
  env @1 :List(Text);                # `KEY=value`, each in place of what the container has by that name
  user @2 :Text;                     # `user[:group]`, looked up in the container; empty: the container's
  workdir @3 :Text;                  # absolute; empty: the container's
  input @4 :Bool;                    # it has a stdin, which `write` goes to; else that is /dev/null
  terminal @5 :Bool;                 # a new one is its stdin, stdout, stderr and controlling terminal
  size @6 :TerminalSize;             # of that; 0: unknown
}

struct TerminalSize {
  rows @0 :UInt16;
  columns @1 :UInt16;
}

interface ProgramOutput {
  write @0 (stream :LogLine.Stream, data :Data) -> () $Plugin.longRunning;
  # At most 32 KiB, in order; all of a terminal is stdout. Answered when it has been passed on: at most
  # 8 of each stream are under way, so that a slow reader stops the program and fills no memory.
}

interface RunningProgram {
  wait @0 () -> (exitCode :Int32, error :Text) $Plugin.longRunning;
  # When it has ended and all output has been passed on. 128 + signal if a signal ended it. It could
  # not be started: 127 if there is no such program, else 126, with `error`. Its container has ended:
  # 137, with `error`.
  write @1 (data :Data) -> (taken :Bool) $Plugin.longRunning;
  # To its stdin or terminal; in order, at most 32 KiB, and at most 16 at once. Answered when it has gone
  # there: not `taken` if the program reads no more of it, or has no stdin.
  closeInput @2 () -> ();
  # After what has been written. A terminal has no such end: send it what it takes for one.
  resize @3 (size :TerminalSize) -> ();
  # Its terminal, if it has one.
  signal @4 (signal :Text) -> ();
  # `SIGINT`, `INT` or `2`, to the program and what is in its process group. It has ended: success.
  letGo @5 () -> ();
  # From now on the program goes on to its own end, whoever drops this; nobody hears its output. It
  # ends with the container, and with the plugin's end no more. Fails if it could not be started.
}

interface Waiting {
  because @0 (reason :Text) -> ();
  # `waits for the mount source '/mnt/nfs': it has not answered for 10 s`. Said again as time goes
  # by; empty when it goes on.
}

struct ContainerRequest {
  id @0 :Text;
  spec @1 :Objects.ContainerSpec;
  resources @2 :Objects.Resources;
  image @3 :ImageConfig;
  layers @4 :List(Text);             # directories, lowest first; owned by the image plugin
  network :union {
    namespace @5 :Text;              # path of a network namespace
    host @6 :Void;
    none @7 :Void;                   # a new one with nothing in it but lo
  }
  log @8 :Objects.LogConfig;
  labels @9 :List(Objects.KeyValue); # of the container: service, task, user's
  taskName @10 :Text;                # web.1.<id>
  addresses @11 :List(Text);         # for /etc/hosts
}

struct ImageConfig {
  # The part of an OCI image configuration that a container starts from.
  entrypoint @0 :List(Text);
  command @1 :List(Text);
  env @2 :List(Text);
  workdir @3 :Text;
  user @4 :Text;
  stopSignal @5 :Text;
  labels @6 :List(Objects.KeyValue);
  volumes @7 :List(Text);            # targets that get a volume of their own
  exposedPorts @8 :List(Text);       # `80/tcp`
  health @9 :Objects.HealthCheck;    # without any, `test` is empty
}

struct Container {
  enum State { created @0; running @1; exited @2; }
  id @0 :Text;
  state @1 :State;
  pid @2 :UInt32;                    # of the user's program in the node's pid namespace; 0 if exited
  startedAtNs @3 :Int64;
  exit @4 :ExitStatus;               # if exited
  labels @5 :List(Objects.KeyValue);
}

struct ExitStatus {
  code @0 :Int32;                    # 128 + signal if a signal ended it; -1: lost
  atNs @1 :Int64;
  oomKilled @2 :Bool;
  lost @3 :Text;                     # why the code is -1, for the user; empty if the code is known
}

struct LogOptions {
  follow @0 :Bool;
  tail @1 :Int64 = -1;               # last lines; -1: all
  sinceNs @2 :Int64;
}

interface LogSink {
  lines @0 (lines :List(LogLine)) -> () $Plugin.longRunning;
}

struct LogLine {
  enum Stream { stdout @0; stderr @1; }
  timeNs @0 :Int64;
  stream @1 :Stream;
  text @2 :Data;                     # without the line's end
  taskId @3 :Text;
  taskName @4 :Text;
  nodeId @5 :Text;
  partial @6 :Bool;                  # the line goes on in the next entry of this stream
}

struct Volume {
  name @0 :Text;
  driver @1 :Text;                   # `local`: a folder of the node
  path @2 :Text;                     # where the node has its data
  createdAtNs @3 :Int64;             # 0: the file system does not say
  usedBy @4 :List(Text);             # ids of the tasks that have a container with it, ended ones included
}
