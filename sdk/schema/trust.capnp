@0xd2c1a5a0b7f1c00e;
# Who the nodes of a cluster are to each other. A node's certificate (EC P-256) says it all: OU is its
# role, `orch-worker`, `orch-manager` or `orch-admin`, CN its node id. The authority that signed it is
# the cluster's; the SHA-256 of the authority's certificate (DER, 64 hexadecimal digits) names the
# cluster. While one authority takes the place of another, a node trusts both, and shows with its certificate
# one of the new authority that the old one has signed. On the port of a node, the first byte tells what comes: 0x16 is TLS with a certificate on
# both sides, `J` is followed by TLS without one of the client (Gateway, with `join` and no other
# service), 0x00 is Introduction in plain text. Addresses are `ip:port`, IPv6 in brackets.

using Cxx = import "/capnp/c++.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

enum Role { worker @0; manager @1; admin @2; joiner @3; }

struct Peer {
  # Who is at the other end of a connection, by its certificate.
  role @0 :Role;
  id @1 :Text;                       # node id; of an admin the name; of a joiner empty
  address @2 :Text;                  # where it comes from
  fingerprint @3 :Text;              # of its certificate: SHA-256 as DER, in hexadecimal
}

interface PeerService {
  # What a plugin has for other hosts under the name of a service. Nothing else can be reached from there.
  open @0 (peer :Peer) -> (service :Capability);
  # Asked once per connection. Fails for a peer that may not have it.
}

interface Introduction {
  authority @0 () -> (certificate :Text);
  # PEM. Whoever asks compares its digest with the one in the token before anything else is said.
}

interface Join {
  # The service `join`, for joiners.
  join @0 (secret :Text, request :Text) -> (nodeId :Text, role :Role, certificate :Text, managers :List(Text), trusted :Trusted);
  # `secret`: the last part of a token; it decides the role. `request`: a PKCS#10 request in PEM, of
  # which only the public key counts. The node exists from the answer on. Fails with the same text for
  # every wrong secret.
}

interface Renewal {
  # The service `renewal`, for nodes: as who a node is comes from its certificate, it needs no token.
  renew @0 (request :Text) -> (certificate :Text, trusted :Trusted);
  # The same id, for the key of a new request. A node's role is the one that it is to have. Fails for a
  # node that was removed.
  awaitRole @1 (current :Role, authority :Text, trusted :Text) -> (role :Role) $Plugin.longRunning;
  # Answered when the node is to be something else than `current`, or has not what the cluster trusts: `renew` gives it
  # both. `authority`: the digest of the one that has signed its certificate; `trusted`: as in TrustState.
  trusted @2 () -> (trusted :Trusted);
  # Without another certificate.
}

struct Trusted {
  # Whose certificates count in a cluster. All empty: as before.
  authorities @0 :Text;              # PEM, the newest first: it has signed the certificate that comes with this
  former @1 :Text;                   # PEM; of these, certificates of admins alone. For managers
  crossed @2 :Text;                  # PEM: newer ones, each signed by the one before; shown behind a certificate
}

interface Contact {
  # The service `contact` of a worker, for managers that it does not find any more: they have its address yet.
  managers @0 (addresses :List(Text)) -> ();
  # Where managers are now. Replaces what the node knows; durable when it answers.
}

interface Trust {
  # The kernel's service `trust`: what this node is in a cluster, and its keys, which never leave it.
  state @0 () -> (state :TrustState);
  request @1 () -> (request :Text);
  # A certificate request with a new key, which counts from `adopt` on.
  adopt @2 (certificate :Text, authority :Text, managers :List(Text), address :Text) -> ();
  # Of the last request's key. Durable when it answers; from then on the node listens at `address`.
  join @3 (token :Text, managers :List(Text), address :Text) -> (state :TrustState);
  # Asks the managers in turn for a certificate. An empty `address` is the one that the manager is
  # reached from, with port 2377. Durable when it answers; `restart` makes it count. Fails, with
  # nothing changed, if the token is of another cluster or no manager answers.
  leave @4 () -> ();
  # Forgets the cluster and the keys. `restart` makes it count.
  restart @5 () -> ();
  # orchd starts again, in place, shortly after the answer. Containers go on.
  addresses @6 () -> (addresses :List(Text));
  # Of this host, without ports, that others might reach it at: none of loopback, none of bridges
  # that orch or docker made.
  renew @7 (certificate :Text, trusted :Trusted) -> ();
  # The node's next certificate, of the last request's key. Whoever is connected stays so, unless an authority that
  # has signed its certificate is trusted no more: it may come again. If its role is
  # another one than before, it counts from the next start, and orchd starts again as after `restart`.
  suggest @8 (managers :List(Text)) -> ();
  # Where managers may be found, beside those that the node knows of. Replaces the ones before.
  reach @9 (address :Text, role :Role = manager) -> (gateway :Capability);
  # The Gateway at the port of another node, `ip:port`, as it is for this one by its certificate. Nothing is said to
  # one that has another role, manager or worker. The connection is there as long as the gateway and what was asked
  # for through it; its end shows in calls that fail.
  know @10 (managers :List(Text)) -> ();
  # Where managers are, from the leader. Replaces what the node knows; durable when it answers.
  release @11 () -> ();
  # Ends what connections other nodes have to this one. Those that look for the leader find another one.
  move @12 (address :Text) -> ();
  # Others reach this node there from now on; durable when it answers. `restart` makes it count. Fails for an address
  # that this node could not listen at. An address of this host that is gone is replaced without being asked.
  lock @13 (key :Data) -> ();
  # What is secret in what the node keeps is encrypted with that key (32 bytes) from now on, which itself is kept nowhere:
  # a manager that starts again waits for it. Empty: it is not encrypted any more. Durable when it answers. A node that
  # becomes a worker is not locked any more.
  unlock @14 (key :Data) -> ();
  # Of a locked node, which goes on with it. Fails, with nothing changed, for another key.
  unlocked @15 () -> () $Plugin.longRunning;
  # Answered when the node is not locked, or not any more.
  dataKey @16 () -> (key :Data);
  # For secrets that others keep on this node's disk: 32 bytes, which stay the same when the lock's key changes. Empty:
  # they are not encrypted. Fails while the node is locked.
}

struct TrustState {
  member @0 :Bool;                   # of a cluster of several nodes; else nothing else is set
  role @1 :Role;
  nodeId @2 :Text;
  cluster @3 :Text;                  # the digest of the authority that has signed its certificate
  address @4 :Text;                  # that others reach it at
  managers @5 :List(Text);
  authority @6 :Text;                # PEM; all that the node trusts, the newest first
  notAfterNs @7 :Int64;              # of the certificate
  connected @8 :Bool;                # to a manager; of a worker
  leaves @9 :Bool;                   # with the next start it is no member any more
  notBeforeNs @10 :Int64;            # of the certificate
  trusted @11 :Text;                 # names all that it trusts: SHA-256 of `authorities`, `former` and `crossed`
  locked @12 :Bool;                  # it has not got its own key, and waits for that of its lock
  lock @13 :Text;                    # names the key of its lock: a digest; empty: it has none
  restarts @14 :Bool;                # any moment: what else is said holds from then on
}

struct NodeCredentials {
  # What a node keeps of it on its disk, in one file.
  key @0 :Text;                      # PEM, like the rest
  certificate @1 :Text;
  authority @2 :Text;                # all that it trusts, the newest first
  managers @3 :List(Text);
  address @4 :Text;
  own @5 :Bool;                      # the address was seen to be this host's: when it is gone, another one takes its place
  former @6 :Text;                   # as in Trusted
  crossed @7 :Text;
  sealed @8 :Data;                   # NodeSecrets, encrypted with the key of the node's lock; `key` is empty then
  lock @9 :Text;                     # as in TrustState
}

struct NodeSecrets {
  key @0 :Text;
  dataKey @1 :Data;
}
