@0xd2c1a5a0b7f1c00e;
# Who the nodes of a cluster are to each other. A node's certificate (EC P-256) says it all: OU is its
# role, `orch-worker`, `orch-manager` or `orch-admin`, CN its node id. The authority that signed it is
# the cluster's; the SHA-256 of the authority's certificate (DER, 64 hexadecimal digits) names the
# cluster. On the port of a node, the first byte tells what comes: 0x16 is TLS with a certificate on
# both sides, `J` is followed by TLS without one of the client (Gateway, with `join` and no other
# service), 0x00 is Introduction in plain text. Addresses are `ip:port`, IPv6 in brackets.

using Cxx = import "/capnp/c++.capnp";
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
  join @0 (secret :Text, request :Text) -> (nodeId :Text, role :Role, certificate :Text, managers :List(Text));
  # `secret`: the last part of a token; it decides the role. `request`: a PKCS#10 request in PEM, of
  # which only the public key counts. The node exists from the answer on. Fails with the same text for
  # every wrong secret.
}

interface Renewal {
  # The service `renewal`, for nodes: as who a node is comes from its certificate, it needs no token.
  renew @0 (request :Text) -> (certificate :Text);
  # The same role and id, for the key of a new request. Fails for a node that was removed.
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
  renew @7 (certificate :Text) -> ();
  # The node's next certificate, of the last request's key. Whoever is connected stays so.
  suggest @8 (managers :List(Text)) -> ();
  # Where managers may be found, beside those that the node knows of. Replaces the ones before.
}

struct TrustState {
  member @0 :Bool;                   # of a cluster of several nodes; else nothing else is set
  role @1 :Role;
  nodeId @2 :Text;
  cluster @3 :Text;                  # the digest of its authority
  address @4 :Text;                  # that others reach it at
  managers @5 :List(Text);
  authority @6 :Text;                # PEM
  notAfterNs @7 :Int64;              # of the certificate
  connected @8 :Bool;                # to a manager; of a worker
  leaves @9 :Bool;                   # with the next start it is no member any more
  notBeforeNs @10 :Int64;            # of the certificate
}

struct NodeCredentials {
  # What a node keeps of it on its disk, in one file.
  key @0 :Text;                      # PEM, like the rest
  certificate @1 :Text;
  authority @2 :Text;
  managers @3 :List(Text);
  address @4 :Text;
}
