@0xb070ed7d2497fa09;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("orch::discovery::node");

struct Config {
  uri @0 :Text;
  # `node://host:port,10.0.0.[10:200]:2377`, as in `[node] discovery`. `nodes://` and nothing before
  # the list mean the same.
  entries @1 :List(Text);
  # Further addresses and ranges, one a text.
}
