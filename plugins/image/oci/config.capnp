@0xe5aeb492df8eeea7;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::image::oci");

struct Config {
  root @0 :Text;
  # Absolute path of the folder for layers, blobs and the index. Empty: `<data>/<plugin id>`. It must
  # be on a file system that can be the lower part of an overlay and has trusted.* attributes.
  skopeo @1 :Text = "skopeo";
  # The program that copies from registries: a path, or a name that is looked up in PATH.
  unpacker @2 :Text;
  # The program that unpacks layers. Empty: `orch-image-unpack` in the folder above the plugin's file.
  insecureRegistries @3 :List(Text);
  # Registries (`host` or `host:port`) that may speak plain HTTP or show a certificate that nobody
  # vouches for. Loopback addresses are always among them.
  authFile @4 :Text;
  # A containers-auth.json(5) with credentials. Empty: skopeo's own default.
  pullTimeoutSeconds @5 :UInt32 = 1800 $Settings.least(1);
  # A copy from a registry that takes longer is given up.
  concurrentTransfers @6 :UInt32 = 3 $Settings.least(1) $Settings.most(64);
  # So many pulls and imports run at once, 1 to 64; the rest wait their turn.
  maxLayerBytes @7 :UInt64 = 68719476736 $Settings.least(1);
  # A layer that is larger than this (64 GiB), unpacked, is refused; so is an archive that holds more
  # than this of images' blobs. Each entry of a layer counts for 4 KiB beside its content.
  unpackTimeoutSeconds @8 :UInt32 = 3600 $Settings.least(1);
  # An archive or a pulled image that takes longer to unpack is given up.
  policy @9 :Text;
  # Which signatures a pull asks for: a containers-policy.json(5). Empty: the site's own, where skopeo
  # looks for it ($HOME/.config/containers/policy.json, /etc/containers/policy.json); where there is
  # none, and with `insecure`, no signature is asked for.
  keepBlobs @10 :Bool = true;
  # Images that no registry needs to have are kept twice: unpacked, and as they came, so that other
  # hosts of the cluster can fetch them from here. False: those that are imported from now on are not.
}
