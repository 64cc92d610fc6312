@0xbab6713832823300;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::discovery::file");

struct Config {
  uri @0 :Text;
  # `file:///absolute/path`, as in `[node] discovery`.
  pollMs @1 :UInt64 = 60000 $Settings.least(100) $Settings.most(3600000);
  # The file is also looked at so often: for changes of which the system does not tell, as on a network
  # file system or behind a symbolic link.
}
