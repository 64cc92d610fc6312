@0xefdff3cf9ceed8df;
# The kind `filter`: says of an expression that a user wrote where tasks may run. `filter.mine` is
# asked for `--filter mine:EXPRESSION`; `--constraint` and `--affinity` ask filter.constraint and
# filter.affinity.
#
# A kind of its own and no part of `scheduler`: a filter keeps nothing and is never told of nodes, so
# that its interface has nothing in common with a strategy's, and neither `--strategy` nor `--filter`
# can name a plugin that does the other thing.
#
# What it answers depends on the expression and on the values of the keys that it names, and on
# nothing else. The manager finds the values, asks ahead of a pass, once for all nodes that have the
# same ones, and keeps the answers: a thousand nodes in three zones are three questions. It asks again
# after its own restart and after it has forgotten; a filter that was restarted needs nothing.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
$Cxx.namespace("orch::schema");

interface Filter {
  parse @0 (expression :Text) -> (rule :Rule);
  # Before a service with it is made. Fails with `usage: …`, the expression and the column at which
  # something is wrong. An expression has at most 1024 characters; a weight at its end has been cut
  # off.
  check @1 (questions :List(Question)) -> (codes :List(UInt8));
  # One for each question, in order. 0: it is so. Else one more than the place of the words in
  # `Rule.refusals`; 250 is the highest. Answers within 20 ms hold up nobody, at most 1000 at once are
  # asked for.
}

struct Rule {
  enum Subject {
    node @0;                         # the node itself: tasks may run where it is so
    near @1;                         # services: tasks may run where one runs of which it is so
    away @2;                         # services: where none does
  }
  subject @0 :Subject;
  keys @1 :List(Text);
  # What it looks at, without repetition. Of nodes: node.id, node.hostname, node.ip, node.role,
  # node.platform.os, node.platform.arch, node.cpus (`2.5`), node.memory (bytes), node.labels.KEY,
  # engine.labels.KEY. Of services: service.name, service.image, service.labels.KEY, and
  # container.labels.KEY of their tasks. Any other key is refused before the service is made.
  refusals @2 :List(Text);
  # Why a node cannot take the task, by code: "constraint node.labels.zone==a not met". Shown by
  # `orch why` and with tasks that wait. Of services one is enough.
  remedy @3 :Objects.KeyValue;
  # A key, and a value of it with which it would be so; empty if there is no such one. Of a label of
  # the node the command that sets it is shown.
}

struct Question {
  expression @0 :Text;
  values @1 :List(Text);             # of the rule's keys, in their order; what is not there is empty
}
