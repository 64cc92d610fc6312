@0xfc05a25f610dbd42;
# The kind `integration`: plugins that tell others what runs (a catalog, the configuration of a balancer). They need offer no service;
# what they have to know they get here.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface TaskFeed {
  # Tasks as they come, change and go. The service `tasks` of a node has those of that node, whether a manager can be reached or not;
  # control.agent offers it. What offers those of a whole cluster has this interface, too.
  watch @0 (sink :TaskSink) -> () $Plugin.longRunning;
  # Until it is cancelled, or a call to the sink fails; with DISCONNECTED when who offers it stops. Any number of watches.
}

interface TaskSink {
  update @0 (complete :Bool, tasks :List(TaskEntry), gone :List(Text)) -> (noticedMs :UInt32) $Plugin.longRunning;
  # `complete`, as the first one is: these are all, and what else was told before is gone. Otherwise those that differ from what was told before,
  # and the ids of those that are gone; a task that came and went between two calls may be in neither, or only in `gone`.
  #
  # Answered when what the watcher tells others agrees with it, or when the watcher has given that up for now. A task that
  # stopped `serving` is not drained and not stopped before: but for at most the time that the node's settings give
  # (control.agent, `leaveLimitMs`). Nor before those have had `noticedMs` from the answer on, and no more than that time, who go by what the watcher tells
  # them: as clients of a catalog, who notice a little later. The next call is made after the answer, with all that has changed meanwhile.
}

struct TaskEntry {
  task @0 :Objects.Task;
  # As it is known there: with its status, and with what templates in its spec stand for filled in. What the container
  # has of its image (environment, labels, exposed ports) is not in it.
  serving @1 :Bool;
  # It runs, is healthy where that is checked, and is not about to be stopped: connections may be led to it.
}
