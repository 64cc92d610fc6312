@0xd2c1a5a0b7f1c012;
# Between the managers of a cluster: what the leader has for the others.

using Cxx = import "/capnp/c++.capnp";
using Agent = import "agent.capnp";
using Cluster = import "cluster.capnp";
using Trust = import "trust.capnp";
$Cxx.namespace("orch::schema");

interface ManagerPeer {
  # The peer service `manager`, for nodes with a manager's certificate. Whoever does not lead refuses it.
  beat @0 (behindMs :Int64 = -1, trouble :Text, has :Text) -> (epoch :UInt64, managers :List(Text), revision :UInt64, store :Text, authority :Text,
    lock :Text);
  # Answered after a beat's time, for as long as it leads: whoever has one such call under way at all
  # times notices a closed connection at once, and a silent leader after some beats. `managers`: the
  # addresses of all nodes that manage. `revision`, `store`: of the state, and where it is. `behindMs`: for so
  # long the peer's copy of the state has not been what the leader had; -1: it has none. `trouble`: what is wrong
  # with its way to the state, in one line; empty: nothing. `authority`: the digest of the cluster's, which the peer
  # asks for if its own is another one; `has`: of the one whose key it has got.
  cluster @1 () -> (cluster :Cluster.ClusterControl);
  # All that its users have, for those of the peer; `self` is the peer.
  dispatcher @2 () -> (dispatcher :Agent.Dispatcher);
  # For the agent of the peer.
  authority @3 () -> (secret :Text);
  # The certificate and the key of the cluster's authority, PEM. The peer keeps it in a file that nobody
  # else reads.
  open @4 (service :Text, peer :Trust.Peer) -> (service :Capability);
  # `join`, `renewal` or `admin`, as PeerService.open, for somebody who is connected to the peer.
  store @5 () -> (name :Text);
  # Where the state is: the service of the store, as `store.etcd`.
  status @6 () -> (status :Cluster.ClusterStatus);
  # But for what is of the manager that is asked, and of its store.
  storeServer @7 (address :Text) -> (invitation :Data);
  # To the servers of a store that runs them itself, for a peer that has none; see StoreServers.admit. `address`: of the
  # peer, `ip:port`.
  lockKey @8 () -> (key :Data);
  # As Trust.lock takes it: of all managers. `beat` names it.
  storeServers @9 () -> (of :Text);
  # Names the servers of a store that runs them itself, as StoreServers.state; empty: it does not, or there are none.
}
