@0xd2c1a5a0b7f1c008;
# The kind `network`: network namespaces, addresses, published ports and names of one node's tasks.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

# ---- what the kernel has, against the books -------------------------------------------------------

interface NetworkChecker {
  # What every plugin of this kind can be asked.
  check @0 (network :Text, repair :Bool) -> (things :UInt32, findings :List(NetworkFinding), members :List(NetworkMember));
  # Compares what the kernel has with what it should have by the plugin's books, of one network or,
  # if `network` is empty, of all that it has; changes nothing unless asked to `repair` what it finds.
  # `things`: so many were looked at. `members`: who has something there, by the books, so that who
  # asks can tell what the books lack.
}

struct NetworkFinding {
  # One thing that is not as it should be.
  network @0 :Text;                  # id, or the name of one that is the nodes' own; empty: published ports
  object @1 :Text;                   # as `forwarding entry of 10.0.1.5`
  expected @2 :Text;                 # empty: it should not be there
  found @3 :Text;                    # empty: it is not there
  repaired @4 :Bool;                 # it is as it should be by now
}

# Ids of tasks and of networks are names of files: 1 to 64 characters of a-z, A-Z, 0-9, `_`, `-` and
# `.`, not beginning with a dot. Others are refused with a text that names them, and change nothing.
#
# Calls for one task take effect in the order in which they come. One that its caller has let go of
# is carried out or undone; either way a later `detach` or `unplug`, or `retain` after a restart,
# leaves nothing of it. An instance that was ended without `stop` leaves what it has made as it is:
# tasks go on talking, and the next instance takes over what they have.

interface NetworkDriver extends(NetworkChecker) {
  info @0 () -> (name :Text, driver :Text, subnet :Text, gateway :Text, total :UInt32, used :UInt32, options :List(Objects.KeyValue), subnet6 :Text, gateway6 :Text);
  # `total`: addresses that tasks can have, all in the subnet and none of them the gateway's. `used`:
  # those that tasks have, from `recover` on.
  attach @1 (taskId :Text) -> (endpoint :Endpoint);
  # A namespace with lo, a leg into the network, an address that no other task has, and routes to the
  # network and to all else; tasks of the network reach each other, and see each other's addresses.
  # Idempotent: who is attached is answered the same, after a restart too, with nothing changed.
  # Fails, leaving nothing, if the pool is empty; what a task has given back is free again.
  detach @2 (taskId :Text) -> ();
  # Takes everything away. Gone already is success, as is an id that no task can have.
  retain @3 (taskIds :List(Text)) -> (endpoints :List(Endpoint));
  # After a restart: keeps what these tasks have, and answers it; takes the rest away, whole or not.
  # Of those who have nothing nothing is answered.
  drain @4 (taskId :Text, limitMs :UInt64) -> (open :UInt32) $Plugin.longRunning;
  # Answered when no TCP connection to the task is under way, or after the limit with how many still
  # are; 0 for a task that is not attached. One is under way that carries data, or whose client spoke last. New ones are not kept out.
}

struct Endpoint {
  taskId @0 :Text;
  namespacePath @1 :Text;            # for setns(2); there as long as the task is attached
  address @2 :Text;                  # without the prefix length; of a device that is up in there
  gateway @3 :Text;
  address6 @4 :Text;                 # IPv6, the same; empty: the network has none
  gateway6 @5 :Text;
}

# ---- published ports ----------------------------------------------------------------------------

interface PortPublisher extends(NetworkChecker) {
  # Leads the node's published ports to its tasks, and those of services that run elsewhere to the
  # nodes that have them: each node answers on all.
  publish @0 (taskId :Text, address :Text, ports :List(Objects.PortSpec), address6 :Text) -> (ports :List(Objects.PortSpec));
  # Holds the ports of the node for the task that has this address on it, and maybe one of IPv6. Idempotent. Answers them as
  # chosen (`published` 0 with mode=host). Fails, leaving nothing, if one is taken.
  activate @1 (taskId :Text) -> ();
  # From now on its published ports lead to it.
  deactivate @2 (taskId :Text) -> ();
  # From the answer on no new connection is led to it; open ones go on.
  withdraw @3 (taskId :Text) -> ();
  # Lets go of its ports. Gone already is success.
  retain @4 (taskIds :List(Text)) -> ();
  # After a restart: keeps what these tasks have (active or not as before), takes the rest away.
  update @5 (change :MeshChange) -> (untaken :List(Text));
  # Answered when it is in force. `untaken`: ports that this node does not answer on, each with the
  # reason, as "8080/tcp: another program listens on it".
}

struct MeshChange {
  complete @0 :Bool;                 # these are all nodes; what else is known is gone
  address @1 :Text;                  # of this node, for the others; empty: it has none, and no mesh
  inside @2 :List(Text);             # CIDRs that exist on this node alone: of its local networks
  nodes @3 :List(MeshNode);          # other ones
  gone @4 :List(Text);               # ids of nodes
}

struct MeshNode {
  # Another node that has active tasks behind published ports.
  nodeId @0 :Text;
  address @1 :Text;                  # IPv4, that others reach it at
  ports @2 :List(MeshPort);
}

struct MeshPort {
  published @0 :UInt16;
  protocol @1 :Objects.PortSpec.Protocol;
  tasks @2 :UInt32;                  # that new connections may go to; 1 and up
}

# ---- networks that span hosts -------------------------------------------------------------------

struct NetworkPeer {
  # A task that has a leg in a network, on whatever node.
  network @0 :Text;                  # id
  taskId @1 :Text;
  serviceId @2 :Text;
  name @3 :Text;                     # `web.1`
  address @4 :Text;                  # of its leg, without the prefix length
  nodeId @5 :Text;
  nodeAddress @6 :Text;              # that other nodes reach its node at
  serving @7 :Bool;                  # it runs, and is not about to stop: new connections may go to it
  address6 @8 :Text;                 # empty: the network has no IPv6
  nodeKey @9 :Text;                  # its node's public key, of an encrypted network; in base64
}

struct NetworkService {
  # A service as a network knows it.
  network @0 :Text;                  # id
  serviceId @1 :Text;
  name @2 :Text;
  address @3 :Text;                  # virtual; empty: its name stands for the addresses of its tasks
  # A connection to the virtual address goes to one of the tasks that serve, chosen as `algorithm` and
  # `persistenceMs` say, and comes from the client's own address; a task that reaches itself sees the gateway's. Where
  # nobody serves it is refused at once. Who serves no more gets no new one; what is open goes on as
  # long as the task is there. UDP goes to another with the next packet.
  aliases @4 :List(Text);
  algorithm @5 :Objects.EndpointSpec.Algorithm;
  persistenceMs @6 :UInt64;          # as in EndpointSpec
  address6 @7 :Text;                 # virtual; empty: the network has no IPv6
}

struct NetworkChange {
  # What has to be added comes before what has to go.
  complete @0 :Bool;                 # these are all; what else is known is gone
  networks @1 :List(Objects.Network);
  peers @2 :List(NetworkPeer);
  services @3 :List(NetworkService);
  goneNetworks @4 :List(Text);       # with all that is in them
  gonePeers @5 :List(NetworkMember);
  goneServices @6 :List(NetworkMember);
}

struct NetworkMember {
  network @0 :Text;
  id @1 :Text;                       # of a task, or a service
}

interface NetworkTables {
  update @0 (change :NetworkChange) -> ();
  # Answered when it is in force. What is known already changes nothing; what cannot be is refused as
  # a whole, and nothing of it is in force.
}

interface LegDriver extends(NetworkTables, NetworkChecker) {
  # Networks that tasks have one leg in each, beside others.
  plug @0 (leg :LegRequest) -> ();
  # Device, address and route to the network in the task's namespace, no other route. The network
  # must have been told of. Idempotent. Fails, leaving nothing, if the task has such a device of its
  # own.
  unplug @1 (taskId :Text, network :Text) -> ();
  # Gone already is success, as is a task whose namespace has ended. A network has nothing on the node
  # when its last leg is gone.
  retain @2 (taskIds :List(Text)) -> ();
  # After a restart: takes away the legs of all others, whether the networks have been told of by then
  # or not; those of tasks whose namespace has ended are gone as well.
  routes @3 () -> (routes :List(Text), balancer :Text, encryptionKey :Text, encryptionProblem :Text);
  # CIDRs that this host reaches, or has, beside its default route: no network may have them. When
  # they change, the event `routes.changed` says so. `balancer`: what leads connections to virtual
  # addresses here, `ipvs` or `nft`. `encryptionKey`: public, of this host, for the others of encrypted
  # networks; empty: it can be on none, and `encryptionProblem` says why.
}

struct LegRequest {
  taskId @0 :Text;
  namespacePath @1 :Text;
  network @2 :Text;                  # id
  address @3 :Text;                  # `10.0.1.5/24`
  device @4 :Text;                   # that it has inside: `eth1`
  closed @5 :Bool;                   # it is on internal networks alone: every other way out is taken away
  published @6 :Bool;                # but for answers to those who come by its published ports
  address6 @7 :Text;                 # `fd00:1::5/64`; empty: the network has no IPv6
}

interface NameServer extends(NetworkTables, NetworkChecker) {
  # Answers in each task's namespace, at 127.0.0.11.
  serve @0 (taskId :Text, namespacePath :Text, networks :List(Text), servers :List(Text), closed :Bool) -> ();
  # Names of these networks, by id, the first one first; others are asked of `servers`, or where that
  # is empty of the host's; of nobody if it is `closed`. Idempotent.
  release @1 (taskId :Text) -> ();
  retain @2 (taskIds :List(Text)) -> ();
}
