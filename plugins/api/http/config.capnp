@0xd80944a1ff660043;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::api::http");

struct Config {
  listen @0 :Text = "127.0.0.1:8377";
  # Where it answers: `ip:port`, `[ip6]:port`. Another address than one of loopback is refused without
  # `tokenFile`, unless `open` is set.
  open @1 :Bool = false;
  # Whoever reaches the address may read everything, the environment of containers and their logs too.
  hosts @2 :List(Text);
  # Names that clients may call it by, `orch.example.com`, at most 32. Addresses and `localhost` always do. Another name
  # is refused: else a page of a stranger whose name leads here could read the answers in a browser.
  certificateFile @3 :Text;
  # A certificate with its chain, as PEM. With it and `keyFile` it speaks HTTPS, without both plain HTTP.
  keyFile @4 :Text;
  # Its private key, as PEM.
  tokenFile @5 :Text;
  # Lines `ROLE TOKEN`, at most 1,000; the role is `metrics`, `read` or `change`, each of which may do
  # what those before it may; `#` begins a comment. Nobody else than its owner
  # may read it. With it each request needs `Authorization: Bearer TOKEN`.
  maxConnections @6 :UInt32 = 256 $Settings.least(1) $Settings.most(10000);
  # Open at once. Past it a new one is told so and closed.
  requestMs @7 :UInt32 = 10000 $Settings.least(100) $Settings.most(600000);
  # How long a client may take for the head of its request, and a node for what is asked of it.
}
