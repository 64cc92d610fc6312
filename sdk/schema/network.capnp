@0xd2c1a5a0b7f1c008;
# The kind `network`: network namespaces, addresses and published ports of one node's tasks.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
$Cxx.namespace("orch::schema");

interface NetworkDriver {
  info @0 () -> (name :Text, driver :Text, subnet :Text, gateway :Text, total :UInt32, used :UInt32, options :List(Objects.KeyValue));
  attach @1 (request :AttachRequest) -> (endpoint :Endpoint);
  # A namespace with lo, a leg into the network, an address and routes. Idempotent. Fails, leaving
  # nothing, if the pool is empty or a host port is taken.
  activate @2 (taskId :Text) -> ();
  # From now on its published ports lead to it.
  deactivate @3 (taskId :Text) -> ();
  # From the answer on no new connection reaches it through a published port; open ones go on.
  detach @4 (taskId :Text) -> ();
  # Takes everything away. Gone already is success.
  retain @5 (taskIds :List(Text)) -> (endpoints :List(Endpoint));
  # After a restart: keeps what these tasks have (active or not as before), takes the rest away.
}

struct AttachRequest {
  taskId @0 :Text;
  serviceId @1 :Text;
  ports @2 :List(Objects.PortSpec);  # published ports; `published` 0 with mode=host: choose one
  hostname @3 :Text;
}

struct Endpoint {
  taskId @0 :Text;
  namespacePath @1 :Text;
  address @2 :Text;                  # without the prefix length
  gateway @3 :Text;
  ports @4 :List(Objects.PortSpec);  # as chosen
  active @5 :Bool;
}
