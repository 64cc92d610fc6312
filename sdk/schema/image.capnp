@0xd2c1a5a0b7f1c007;
# The kind `image`: the images of one node. A reference is what docker users write: `nginx`,
# `registry:5000/team/app:1.2`, `name@sha256:…`. Digests are those of the OCI image manifest.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
using Runtime = import "runtime.capnp";
$Cxx.namespace("orch::schema");

# A name is of one image at a time, and moves to what is pulled or imported under it later; an image
# has any number of names. What is imported, pulled or held is so after a restart too. What is wrong (a
# reference, a holder, a path) is refused with a text that names it, and changes nothing. A transfer
# that its caller has let go of is finished or undone, and leaves nothing half done.

interface ImageStore {
  ensure @0 (reference :Text, holder :Text, progress :Progress, elsewhere :ImageFinder, login :RegistryLogin) -> (image :ImageInfo) $Plugin.longRunning;
  # The image, from this node if it has it, else from another host, else pulled; and held for `holder`
  # (a task id) until `release`: a held image is neither removed nor pruned. Calls for the same image
  # share one transfer. `elsewhere` is asked for a reference with a digest only; null: nobody is.
  # A holder is 1 to 128 letters, digits, `_`, `-` and `.`, and does not begin with a dot.
  release @1 (holder :Text) -> ();
  # Who holds nothing, holds nothing.
  retainHolders @2 (holders :List(Text)) -> ();
  # After a crash: holds of all others are released.
  pull @3 (reference :Text, progress :Progress, login :RegistryLogin) -> (image :ImageInfo) $Plugin.longRunning;
  # From the registry even if a local image has that name.
  import @4 (path :Text, reference :Text, progress :Progress) -> (images :List(ImageInfo)) $Plugin.longRunning;
  # A docker archive, an OCI layout (folder or tar), or a plain root file system (folder or tar). An
  # empty `reference` takes the names that the archive holds. Answers these names alone.
  list @5 () -> (images :List(ImageInfo));
  inspect @6 (reference :Text) -> (image :ImageInfo, configJson :Text);
  remove @7 (reference :Text, force :Bool) -> (removed :List(Text));
  # A name, and with its last name the image; by id an image with one name, or, with `force`, with all
  # of them. Fails if it is held, forced or not. `removed`: names, and ids of images that are gone.
  prune @8 (all :Bool) -> (removed :List(Text), freedBytes :UInt64) $Plugin.longRunning;
  # Without `all`: only what no name points to; with it, whatever nobody holds.
  limit @12 (bytes :UInt64, needed :List(Text), unusedMs :UInt64) -> (removed :List(Text), freedBytes :UInt64) $Plugin.longRunning;
  # As long as all images take more than `bytes`, those go that are neither held nor `needed`, the
  # longest unused first. What was used within `unusedMs`, as far as these calls have seen, stays.
  resolve @9 (reference :Text, login :RegistryLogin) -> (digest :Text);
  # What the reference means now, as a digest that `ensure` takes behind `name@`: of what its registry
  # has, without a transfer; of the local image if the name was imported. Fails if nobody knows it.
  readBlob @10 (image :Text, blob :Text, offset :UInt64, maxBytes :UInt32) -> BlobPart;
  # For other hosts: `blob` is the digest of the manifest, of the configuration or of a layer of the
  # image of that digest, which this node keeps the blobs of. All else is refused.
  importFrom @11 (source :ByteSource, name :Text, reference :Text, progress :Progress) -> (images :List(ImageInfo)) $Plugin.longRunning;
  # As `import`, of a file that is on another host. `name`: of it, for messages.
}

struct RegistryLogin {
  # Who asks that registry. Of another one, and without this, it is whoever the image plugin is set up to be.
  registry @0 :Text;                 # `docker.io`, `registry:5000`
  user @1 :Text;
  password @2 :Text;
}

struct BlobPart {
  data @0 :Data;                     # at most `maxBytes` and 64 KiB; empty at the end and behind it
  totalBytes @1 :UInt64;             # of the blob
}

interface ImageFinder {
  # Where an image can be had beside its registry.
  find @0 (digest :Text) -> (sources :List(ImageSource));
  # Few, in the order in which to ask them. Nobody vouches for what they send.
}

struct ImageSource {
  node @0 :Text;                     # the host name
  image @1 :ImageReader;
}

interface ImageReader {
  # One image on another host.
  read @0 (blob :Text, offset :UInt64, maxBytes :UInt32) -> BlobPart;
}

interface ByteSource {
  read @0 (most :UInt32) -> (bytes :Data);
  # What comes next, at most so much; nothing at the end.
}

interface Progress {
  update @0 (text :Text, doneBytes :UInt64, totalBytes :UInt64) -> ();
}

struct ImageInfo {
  id @0 :Text;                       # `sha256:…` of the configuration
  digest @1 :Text;                   # `sha256:…` of the manifest
  references @2 :List(Text);         # familiar form: `nginx:latest`
  createdAtNs @3 :Int64;
  sizeBytes @4 :UInt64;              # unpacked
  layers @5 :List(Text);             # directories, lowest first
  config @6 :Runtime.ImageConfig;
  holders @7 :List(Text);
  os @8 :Text;
  architecture @9 :Text;             # as Go calls it, whatever the image says: `amd64` for x86_64
  variant @10 :Text;                 # `v3`; empty: what all of the architecture have
  pulled @11 :List(Text);            # those of `references` that were not imported here
  keptBytes @12 :UInt64;             # of its blobs, that are kept for other hosts; 0: none are
}
